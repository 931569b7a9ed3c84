"""What docs/ repeats from the code: one module a page or picture, each returning its text."""
