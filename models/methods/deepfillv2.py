"""DeepFillv2 as one of the methods that are compared: which weights, and what it is fed with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dpsdata.contracts import MissingError
from dpsdata.runtime.device import choose_device
from models.baselines.deepfillv2 import SIZE_MULTIPLE_PX, DeepFillv2, DeepFillv2Config
from models.baselines.loading import load_deepfillv2
from models.baselines.tensorflow.names import count_weights
from models.methods.predictor import LoadOptions, MethodProvenance, Painting, check_baseline_precision
from models.methods.registry import Method
from models.methods.resampling import draw_lines, fit_edit, fit_photo, round_up
from models.methods.weights import FoundWeights, find_method_weights

# Source: JiahuiYu/generative_inpainting@3a53243 test.py.
LINE_THRESHOLD = 0.6


class DeepFillv2Predictor:
    """DeepFillv2 behind the protocol of all methods.

    The published weights run at the photos' own size, in multiples of 8 px; ours at the size of their training, as the
    networks that they are compared with.

    Args:
        method: its entry of the registry, guided or not.
        net: the network.
        device: where it runs.
        provenance: what a comparison states of it.
        data_px: side that photos are resampled to; None for their own.
        soft_pen: whether lines are drawn by `smooth_sketch`, as in our training; else they are binary, as published.
    """

    def __init__(
        self,
        method: Method,
        net: DeepFillv2,
        device: torch.device,
        provenance: MethodProvenance,
        data_px: int | None = None,
        soft_pen: bool = False,
    ) -> None:
        self.method, self.device, self.provenance = method, device, provenance
        self.resolution = data_px
        self.net = net.eval().to(device)
        self.soft_pen = soft_pen

    @torch.no_grad()
    def predict(self, photo: Tensor, sketch: Tensor, mask: Tensor, ids: Sequence[str], level: float | None) -> Painting:
        """See `MethodPredictor.predict`; neither ids nor level matter."""
        height, width = photo.shape[2:]
        wanted = (self.resolution or height, self.resolution or width)
        size = (round_up(wanted[0], SIZE_MULTIPLE_PX), round_up(wanted[1], SIZE_MULTIPLE_PX))
        photo, sketch, mask = fit_edit(photo, sketch, mask, size)
        lines = draw_lines(sketch, self.soft_pen, LINE_THRESHOLD) if self.net.config.guided else None
        return Painting(fit_photo(self.net(photo, mask, lines)["raw"], (height, width)))


def load_deepfillv2_method(method: Method, options: LoadOptions) -> DeepFillv2Predictor:
    """Load DeepFillv2, guided or not as the method says.

    Raises:
        UsageError: no such device or precision.
        MissingError: the weights are missing, damaged, or of the other kind.
    """
    check_baseline_precision(method, options.precision)
    device = choose_device(options.device)
    found = find_method_weights(method, options.weights)
    net = load_deepfillv2(found.path)
    if net.config.guided != method.takes_sketch:
        kind, other = ("guided", "deepfillv2-guided") if net.config.guided else ("not guided", "deepfillv2")
        raise MissingError(
            f"{found.path}: these weights are {kind}; they belong to {other}, not to {method.name}, "
            f"for which {method.missing}"
        )
    return DeepFillv2Predictor(method, net, device, _provenance(net, found), found.data_px, found.has_soft_pen)


def _provenance(net: DeepFillv2, found: FoundWeights) -> MethodProvenance:
    pen = "the sketch by the soft pen of its training" if found.has_soft_pen else "the one-pixel sketch, binary"
    reads = pen if net.config.guided else "no sketch"
    size = "at the photos' own size" if found.data_px is None else f"resampled to {found.data_px} px and back"
    return MethodProvenance(
        found.origin,
        found.sha256,
        found.licence,
        f"{reads}; {size}",
        count_weights(net),
        found.images_seen,
        (net.config.width, DeepFillv2Config().width),
        {"network_px": found.data_px},
    )
