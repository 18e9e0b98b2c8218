"""HED edge detection: networks, public weight files, training and evaluation."""

from dpsdata.hed.loading import load_hed, load_hed_scorer
from dpsdata.hed.network import HED, DetectionSettings, HEDOrigin, fold_batch_norm

__all__ = ["HED", "DetectionSettings", "HEDOrigin", "fold_batch_norm", "load_hed", "load_hed_scorer"]
