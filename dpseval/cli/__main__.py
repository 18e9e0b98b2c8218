"""`python -m dpseval.cli`, the same as the console script."""

from dpseval.cli import main

main()
