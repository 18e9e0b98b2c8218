"""The networks that all tabs of `dps app` share, one edit at a time; and the baselines to compare with.

Baselines are offered where their weights are, one in memory at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import MissingError
from dpsdata.images.color_profile import ColorSpace
from models.editing.editor import EditResult, load_editor
from models.editing.photo_frame import Box, PhotoFrame, box_frame, eyes_frame, whole_frame
from models.editing.request import Blend
from models.editing.run import hash_weights
from models.methods.one_photo import FRAME_PX, MethodResult, fill_photo
from models.methods.predictor import LoadOptions, MethodPredictor, load_method
from models.methods.registry import METHODS, Method, default_weights
from models.methods.weights import find_method_weights


@dataclass(frozen=True)
class Placement:
    """Where the face square lies: a box, two eyes, or the whole photo where both are None.

    Attributes:
        box: left, top, width and height, px of the photo.
        eyes: x1, y1, x2, y2, px of the photo.
    """

    box: Box | None = None
    eyes: Box | None = None

    def frame(self, height: int, width: int, size: int) -> PhotoFrame:
        """The model's square in a photo of this height and width, px; raises UsageError where it lies outside."""
        if self.box is not None:
            return box_frame(height, width, size, self.box)
        if self.eyes is not None:
            return eyes_frame(height, width, size, self.eyes)
        return whole_frame(height, width, size)


class Pasting(NamedTuple):
    """How results are put into the photo; see `Editor.predict_levels`.

    Attributes:
        feather_px: width of the soft transition inside of the hole, px.
        blend: `none`, `feather` or `poisson`.
        grain: the hole gets the fine noise of the photo around it.
    """

    feather_px: float = 0.0
    blend: Blend = "none"
    grain: bool = False


EXACT, BLENDED = Pasting(), Pasting(blend="poisson", grain=True)


class Engine:
    """Loaded networks behind a lock, since every tab of the browser asks the same ones.

    Args:
        weights: `bundled`, `official` or a folder.

    Raises:
        MissingError: there are no such weights, or they are damaged.
        UsageError: the files do not make a whole model.

    Attributes:
        method: Deep Plastic Surgery's entry of the registry.
        weights: the name that a `run.json` keeps.
        hashes: SHA-256 by network.
    """

    method = METHODS["dps"]

    def __init__(self, weights: str) -> None:
        self.weights = weights
        self.hashes = hash_weights(weights, "edit")
        self._editor = load_editor(weights, "edit")
        self._lock = threading.Lock()
        self._set: tuple[int, Placement] | None = None
        self._kept: NDArray[np.uint8] | None = None

    @property
    def resolution(self) -> int:
        """Side of the model's images, px."""
        return self._editor.resolution

    def edit(
        self,
        photo: NDArray[np.uint8],
        placement: Placement,
        sketch: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        level: float,
        pasting: Pasting = EXACT,
        colors: ColorSpace | None = None,
    ) -> EditResult:
        """One level alone, as `dps edit --levels LEVEL` does it.

        Args:
            photo: uint8 (H, W, 3).
            placement: where the face is.
            sketch: uint8 (H, W), black line on white.
            mask: uint8 (H, W), white = hole.
            level: in [0, 1].
            pasting: how the result is put into the photo.
            colors: of the photo, where it is not sRGB.
        """
        with self._lock:
            wanted = (id(photo), placement)
            if self._set != wanted or self._kept is not photo:
                self._set = None
                self._editor.set_photo(photo, "none", placement.box, placement.eyes, colors=colors)
                self._set, self._kept = wanted, photo
            return self._editor.predict_levels(sketch, mask, [level], *pasting)[0]


BASELINES = ("deepfillv2", "deepfillv2-guided", "scfegan")


class BaselineSeat:
    """Room for one loaded baseline, which leaves when another one comes.

    Attributes:
        lock: held as long as the one in the seat is used.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._owner: BaselineEngine | None = None
        self._predictor: MethodPredictor | None = None

    def take(self, owner: BaselineEngine) -> MethodPredictor:
        """The networks of a baseline, loaded unless they are here already; the lock must be held."""
        if self._owner is not owner or self._predictor is None:
            self._owner, self._predictor = None, None  # before the next one is read, as memory is for one
            self._predictor = owner.load()
            self._owner = owner
        return self._predictor


class BaselineEngine:
    """A baseline for all tabs of the browser.

    Args:
        method: its entry of the registry, one without a level.
        weights: as in `find_method_weights`.
        seat: shared with the other baselines.

    Raises:
        MissingError: there are no such weights.

    Attributes:
        method: its entry of the registry.
        weights: where they were found.
        hashes: SHA-256 by network.
    """

    def __init__(self, method: Method, weights: str, seat: BaselineSeat) -> None:
        self.method, self.weights = method, weights
        self.hashes = find_method_weights(method, weights).sha256
        self._seat = seat

    def load(self) -> MethodPredictor:
        """Read the networks.

        Raises:
            MissingError: the weights are damaged, of another network, or others than at the start.
        """
        predictor = load_method(self.method.name, LoadOptions(self.weights))
        if predictor.provenance.weights != self.hashes:
            raise MissingError(
                f"{self.method.title}: its weights were changed since the start; stop dps app with Ctrl-C and start it "
                "again"
            )
        return predictor

    def edit(
        self,
        photo: NDArray[np.uint8],
        placement: Placement,
        sketch: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        level: float | None = None,
        pasting: Pasting = EXACT,
        colors: ColorSpace | None = None,
    ) -> MethodResult:
        """Fill the hole.

        Args:
            photo: uint8 (H, W, 3).
            placement: where the face is.
            sketch: uint8 (H, W), black line on white.
            mask: uint8 (H, W), white = hole.
            level: as in `Engine.edit`; it has no meaning here.
            pasting: how the result is put into the photo.
            colors: of the photo, where it is not sRGB.

        Raises:
            MissingError: as in `load`.
            UsageError: the face square is outside the photo.
        """
        with self._seat.lock:
            predictor = self._seat.take(self)
            frame = placement.frame(photo.shape[0], photo.shape[1], predictor.resolution or FRAME_PX)
            how = pasting._asdict()
            return fill_photo(predictor, photo, sketch, mask, frame=frame, colors=colors, **how)[0]


AnyEngine = Engine | BaselineEngine


def find_baselines(weights: str | None) -> list[BaselineEngine]:
    """The baselines that have weights here.

    Args:
        weights: `bundled`, `official` or a folder that is looked into first; None for what there is.
    """
    seat, found = BaselineSeat(), []
    for name in BASELINES:
        method = METHODS[name]
        places = [default_weights(method), "bundled"]
        for place in dict.fromkeys(places if weights is None else [weights, *places]):
            try:
                found.append(BaselineEngine(method, place, seat))
                break
            except MissingError:
                continue
    return found


def name_editors(weights: Iterable[str]) -> list[str]:
    """Names of the sets of weights of Deep Plastic Surgery, which say which set only where there are several."""
    sets, title = list(weights), METHODS["dps"].title
    return [title] if len(sets) == 1 else [f"{title}, {name} weights" for name in sets]


def name_baseline(method: Method) -> str:
    """The name of a method without a level."""
    return f"{method.title}, no level" if method.takes_sketch else f"{method.title}, no level, no line"


def say_limits(method: Method) -> tuple[str, ...]:
    """Sentences on what it lacks beside Deep Plastic Surgery."""
    if method.has_level:
        return ()
    one = f"{method.title} has no level, so there is one result."
    return (one,) if method.takes_sketch else (one, f"{method.title} does not read the lines.")


def refuse_folder(method: Method) -> str:
    """Why there is no edit folder of a result, and what there is instead."""
    return (
        f"A saved edit is what `dps edit --from` repeats, which runs Deep Plastic Surgery, not {method.title}. "
        "Save this result as PNG or JPEG; the hole and the lines can be saved as PNG too."
    )
