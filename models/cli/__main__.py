"""`python -m models.cli`, the same as the console script."""

from models.cli import main

main()
