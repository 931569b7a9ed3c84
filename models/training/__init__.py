"""Training and export of the six-head classifier; needs torch, which serving does not."""
