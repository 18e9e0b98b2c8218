"""`python -m dpsdata.cli`, the same as the console script."""

from dpsdata.cli import main

main()
