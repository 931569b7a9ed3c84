"""`python -m pipeline` is `gapwatch`."""

from pipeline.cli import main

main()
