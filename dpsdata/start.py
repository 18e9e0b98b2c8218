"""Entry points of the console scripts: from here on Ctrl-C ends any command with one line and code 130.

Nothing else is imported before the handler is there. `import dpsdata` as a library never comes here.
"""

import sys

from dpsdata.runtime.interrupts import install

install()


def _start(module: str) -> None:
    __import__(module)
    sys.modules[module].main()


def dpsdata() -> None:
    """Run `dpsdata`."""
    _start("dpsdata.cli")


def dps() -> None:
    """Run `dps`."""
    _start("models.cli")


def dpseval() -> None:
    """Run `dpseval`."""
    _start("dpseval.cli")
