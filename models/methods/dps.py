"""Deep Plastic Surgery as one of the methods that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.editing.editor import Editor, load_editor
from models.editing.loading import find_sources
from models.editing.run import hash_weights
from models.methods.predictor import LoadOptions, MethodProvenance, Painting
from models.methods.registry import Method
from models.methods.resampling import fit_edit, fit_photo, fit_plane
from models.methods.weights import Origin
from models.networks.config import check_task, published_config
from models.networks.editing_net import Refiner
from models.networks.inpainter import Inpainter
from models.weights.official import peek_card

_READS = (
    "photo cut by the mask and the one-pixel sketch, dilated after the level by a pen of up to {pen} px; resampled to "
    "{size} px and back"
)


class DpsPredictor:
    """G and F behind the protocol of all methods.

    Args:
        method: its entry of the registry.
        editor: the networks.
        provenance: what a comparison states of it.
    """

    def __init__(self, method: Method, editor: Editor, provenance: MethodProvenance) -> None:
        self.method, self.provenance = method, provenance
        self.editor = editor

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.editor.device

    @property
    def resolution(self) -> int | None:
        """Side of the model's images, px."""
        return self.editor.resolution

    def predict(self, photo: Tensor, sketch: Tensor, mask: Tensor, ids: Sequence[str], level: float | None) -> Painting:
        """See `MethodPredictor.predict`; a level is needed, the ids are not."""
        assert level is not None  # noqa: S101 (for the type checker)
        own_size, own_mask = (photo.shape[2], photo.shape[3]), mask
        photo, sketch, mask = fit_edit(photo, sketch, mask, (self.editor.resolution, self.editor.resolution))
        out = self.editor.forward(photo, sketch, mask, level)
        return Painting(
            fit_photo(out.inpainter_photo, own_size),
            fit_plane(out.refined_sketch, own_size) * own_mask,
            fit_photo(out.refiner_photo, own_size),
        )


def load_dps(method: Method, options: LoadOptions) -> DpsPredictor:
    """Load G and F.

    Raises:
        UsageError: no such device or precision, or the named networks do not make a whole model.
        MissingError: the weights are missing or damaged.
    """
    hashes = hash_weights(options.weights, "edit")
    editor = load_editor(options.weights, "edit", options.device, options.precision)
    cards = [peek_card(Path(path)) for path in find_sources(options.weights, check_task("edit")).values()]
    provenance = MethodProvenance(
        _origin(options.weights, cards),
        hashes,
        _licence(method, options.weights, cards),
        _READS.format(pen=editor.net.refiner.config.pen_px(editor.resolution), size=editor.resolution),
        _count_parameters(editor),
        max((card["images_seen"] for card in cards if type(card.get("images_seen")) is int), default=None),
        (editor.net.refiner.config.width, published_config().refiner.width),
        {"precision": options.precision, "network_px": editor.resolution},
    )
    return DpsPredictor(method, editor, provenance)


def _origin(weights: str, cards: list[dict[str, Any]]) -> Origin:
    if weights == "bundled":
        return "bundled"
    # A folder of the published .ckpt files, or of those converted, holds the official networks as well.
    is_official = weights == "official" or all(card.get("layout", "official") == "official" for card in cards)
    return "official" if is_official else "retrained"


def _licence(method: Method, weights: str, cards: list[dict[str, Any]]) -> str:
    if _origin(weights, cards) == "official":
        return method.licence
    return next((str(card["licence"])[:300] for card in cards if card.get("licence")), "")


def _count_parameters(editor: Editor) -> int:
    """Of the networks as they were trained; some layers of an editor are folded into others."""
    with torch.device("meta"):
        nets = (Refiner(editor.net.refiner.config), Inpainter(editor.net.inpainter.config))
    return sum(value.numel() for net in nets for value in net.parameters())
