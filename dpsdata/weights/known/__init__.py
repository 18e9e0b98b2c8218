"""Weights of the networks that metrics look through, registered by name; the networks themselves are in `dpseval`.

They are here so that every room's `weights` commands know them, although no room below `dpseval` runs them.
"""

from dpsdata.weights.known import inception as _inception  # noqa: F401
from dpsdata.weights.known import lpips_backbones as _lpips_backbones  # noqa: F401
