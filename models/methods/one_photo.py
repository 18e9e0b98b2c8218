"""The numpy door of every method: one photo, sketch and mask of any size, as `Editor` has it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dpsdata.contracts import UsageError, check_level
from dpsdata.images.arrays import photo_to_tensor
from dpsdata.images.color_profile import ColorSpace
from dpsdata.sketch.simplify import thin_lines
from models.editing.compositing import find_target, paste
from models.editing.photo_frame import NoFaceError, PhotoFrame, find_frame, whole_frame
from models.editing.request import Blend, check_blend
from models.editing.user_inputs import check_same_size, find_hole, find_lines
from models.methods.predictor import MethodPredictor

FRAME_PX = 256


@dataclass(frozen=True, eq=False)
class MethodResult:
    """One filled photo.

    Attributes:
        level: refinement level; None of a method without one.
        photo: uint8 (H, W, 3); every pixel outside of the hole is as it was.
    """

    level: float | None
    photo: NDArray[np.uint8]


def fill_photo(
    predictor: MethodPredictor,
    photo: NDArray[np.uint8],
    sketch: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    levels: Sequence[float] = (),
    align: Literal["auto", "none"] = "auto",
    sample_id: str = "",
    frame: PhotoFrame | None = None,
    feather_px: float = 0.0,
    blend: Blend = "none",
    grain: bool = False,
    colors: ColorSpace | None = None,
) -> list[MethodResult]:
    """Fill the hole of one photo.

    The face's frame is cut out at the method's resolution, or at 256 px where it takes any, and the result is pasted
    back at the photo's own size. A method that reads refined sketches is given this one at every level.

    Args:
        predictor: the method.
        photo: uint8 (H, W, 3) RGB, upright.
        sketch: uint8 (H, W), black line on white.
        mask: uint8 (H, W), white (over 127) = hole.
        levels: refinement levels in [0, 1]; no meaning for a method without a level.
        align: `auto` finds the face, and takes the whole photo where there is none; `none` takes the whole photo.
        sample_id: what noise is keyed by.
        frame: the square of this photo that the method sees, of any size; instead of `align`.
        feather_px: width of the soft transition inside of the hole, px.
        blend: as in `Editor.predict_levels`.
        grain: as in `Editor.predict_levels`.
        colors: the photo's colour space where it is not sRGB; results are in it too.

    Returns:
        One result for each level, or the only one of a method without a level.

    Raises:
        UsageError: an argument breaks its contract, the sizes differ, the frame is of another photo, or a method with
            levels is given none.
    """
    has_level = predictor.method.has_level
    wanted: list[float | None] = [check_level(level) for level in levels] if has_level else [None]
    if not wanted:
        raise UsageError(f"levels: {predictor.method.name} needs at least one number in [0, 1], got none")
    if not isinstance(photo, np.ndarray) or photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise UsageError(f"photo: expected uint8 (H, W, 3), got {getattr(photo, 'shape', type(photo).__name__)}")
    if align not in ("auto", "none"):
        raise UsageError(f"align: expected auto or none, got {align!r}")
    check_blend(blend, feather_px)
    lines, hole = find_lines(sketch)[0], find_hole(mask)
    check_same_size(photo, sketch, mask)
    if frame is None:
        frame = _choose_frame(photo, predictor.resolution or FRAME_PX, align, hole)
    elif (frame.height, frame.width) != photo.shape[:2]:
        raise UsageError(
            f"frame: it was made for a photo of {frame.width} x {frame.height} px, but this one has "
            f"{photo.shape[1]} x {photo.shape[0]} px"
        )
    target = find_target(hole, frame, feather_px)
    if target is None:
        return [MethodResult(level, photo.copy()) for level in wanted]
    seen = frame.take_photo(photo)
    inputs = [
        photo_to_tensor((seen if colors is None else colors.to_srgb(seen))[None]),
        _plane(thin_lines(frame.take_marks(lines & hole))),
        _plane(frame.take_marks(hole)),
    ]
    on_device = [tensor.to(predictor.device) for tensor in inputs]
    results = []
    for level in wanted:
        out = predictor.predict(on_device[0], on_device[1], on_device[2], [sample_id], level)
        results.append(MethodResult(level, paste(photo, out.photo[0], target, frame, colors, blend, grain)))
    return results


def _choose_frame(photo: NDArray[np.uint8], size: int, align: str, hole: NDArray[np.uint8]) -> PhotoFrame:
    if align == "auto":
        with suppress(NoFaceError):
            return find_frame(photo, size, hole)
    return whole_frame(photo.shape[0], photo.shape[1], size)


def _plane(marks: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(marks[None, None].astype(np.float32))
