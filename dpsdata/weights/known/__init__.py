"""Importers of published weights, registered by name.

Those of metrics are here so that every room's `weights` commands know them; the networks are in `dpseval`.
"""

from dpsdata.weights.known import face_api as _face_api  # noqa: F401
from dpsdata.weights.known import hed as _hed  # noqa: F401
from dpsdata.weights.known import inception as _inception  # noqa: F401
from dpsdata.weights.known import lpips_backbones as _lpips_backbones  # noqa: F401
from dpsdata.weights.known import mobilefacenet as _mobilefacenet  # noqa: F401
from dpsdata.weights.known import vision_transformers as _vision_transformers  # noqa: F401
