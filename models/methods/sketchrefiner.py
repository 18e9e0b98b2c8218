"""SketchRefiner as one of the methods that are compared: which weights, and what it is fed with."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsdata.hed import HED, load_hed
from dpsdata.images.codec import tensor_to_photo
from dpsdata.runtime.device import choose_device
from dpsdata.weights import weights_path
from models.baselines.loading import open_weights
from models.baselines.sketchrefiner.pipeline import SketchRefiner, load_sketchrefiner
from models.methods.classical import INPAINT_RADIUS_PX
from models.methods.predictor import LoadOptions, MethodProvenance, Painting, check_baseline_precision
from models.methods.registry import Method
from models.methods.resampling import fit_edit, fit_photo
from models.methods.weights import FoundWeights, find_method_weights

NETWORK_PX = 256


class SketchRefinerPredictor:
    """SketchRefiner behind the protocol of all methods.

    It reads edges of the photo around the hole. The published detector, BDCN, saw the whole photo; here it is HED,
    which its authors name as well, on a photo whose hole OpenCV filled first, so that nothing of the hole leaks out.

    Args:
        method: its entry of the registry.
        net: the networks.
        edges: the detector.
        device: where both run.
        provenance: what a comparison states of it.
    """

    resolution: int | None = NETWORK_PX

    def __init__(
        self, method: Method, net: SketchRefiner, edges: HED, device: torch.device, provenance: MethodProvenance
    ) -> None:
        self.method, self.device, self.provenance = method, device, provenance
        self.net = net.eval().to(device)
        self.edges = edges

    @torch.no_grad()
    def predict(self, photo: Tensor, sketch: Tensor, mask: Tensor, ids: Sequence[str], level: float | None) -> Painting:
        """See `MethodPredictor.predict`; neither ids nor level matter."""
        own_size = (photo.shape[2], photo.shape[3])
        photo, sketch, mask = fit_edit(photo, sketch, mask, (NETWORK_PX, NETWORK_PX))
        pairs = zip(tensor_to_photo(photo), mask[:, 0].cpu().numpy().astype(np.uint8), strict=True)
        edges = torch.from_numpy(self.edges.detect(np.stack([_without_hole(*pair) for pair in pairs])))[:, None]
        return Painting(fit_photo(self.net(photo, mask, sketch, edges.to(photo))["raw"], own_size))


def _without_hole(photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> NDArray[np.uint8]:
    blank = photo * (1 - hole[..., None])
    if hole.all() or not hole.any():
        return blank
    return np.asarray(cv2.inpaint(blank, hole, INPAINT_RADIUS_PX, cv2.INPAINT_TELEA), np.uint8)


def load_sketchrefiner_method(method: Method, options: LoadOptions) -> SketchRefinerPredictor:
    """Load all networks, and the HED that `load_hed` finds.

    Raises:
        UsageError: no such device or precision.
        MissingError: the weights are missing, damaged, or of another network.
    """
    check_baseline_precision(method, options.precision)
    device = choose_device(options.device)
    found = find_method_weights(method, options.weights)
    net = load_sketchrefiner(_gather(method, found))
    edges = load_hed("auto", device=options.device)
    return SketchRefinerPredictor(method, net, edges, device, _provenance(net, edges, found))


def _gather(method: Method, found: FoundWeights) -> dict[str, Tensor]:
    """The tensors of all networks: the official ones lie in files of their own."""
    paths = [found.path, *(weights_path(name) for name in method.beside if found.origin == "official")]
    tensors: dict[str, Tensor] = {}
    for path in paths:
        weights = open_weights(path)
        tensors |= weights.read(weights.shapes)
    return tensors


def _provenance(net: SketchRefiner, edges: HED, found: FoundWeights) -> MethodProvenance:
    return MethodProvenance(
        found.origin,
        found.sha256,
        found.licence,
        f"the one-pixel sketch, and edges by {edges.origin.name} around it; resampled to {NETWORK_PX} px and back",
        sum(value.numel() for value in net.parameters()),
        found.images_seen,
        depends_on={"network_px": NETWORK_PX, "edges": {edges.origin.name: edges.origin.sha256}},
    )
