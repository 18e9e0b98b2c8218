"""Results pasted into the photo: in the hole alone, with a feather inside of it if wanted."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsdata.images.color_profile import ColorSpace
from models.editing.blending import add_grain, carry_rim
from models.editing.photo_frame import PhotoFrame
from models.editing.request import Blend


class PasteTarget(NamedTuple):
    """Where results go.

    Attributes:
        rows: of the photo.
        columns: of the photo.
        weights: of the result in each of these pixels, in [0, 1]; 0 outside of the hole.
    """

    rows: slice
    columns: slice
    weights: NDArray[np.float32]


def whole_target(height: int, width: int) -> PasteTarget:
    """Every pixel."""
    return PasteTarget(slice(0, height), slice(0, width), np.ones((height, width), np.float32))


def paste(
    ground: NDArray[np.uint8],
    image: Tensor,
    target: PasteTarget,
    frame: PhotoFrame,
    colors: ColorSpace | None = None,
    blend: Blend = "none",
    grain: bool = False,
) -> NDArray[np.uint8]:
    """Paste a result over a photo or a sketch.

    Args:
        ground: uint8 (H, W, 3), or (H, W) for one channel.
        image: (3, S, S) or (1, S, S) in [-1, 1].
        target: where to.
        frame: the model's square in the photo.
        colors: of `ground`, other than sRGB, in which networks paint.
        blend: `poisson` carries the colours of the rim into the hole, and wants three channels; `none` and `feather`
            paste by the weights as they are.
        grain: add the fine noise of the photo around the hole to the result; wants three channels too.

    Returns:
        A new array like `ground`; where the weight is 0 it is the same.
    """
    planes = image.detach().to("cpu", torch.float32).permute(1, 2, 0).numpy()
    painted = frame.put_back(np.ascontiguousarray(planes[..., 0] if ground.ndim == 2 else planes), *target[:2])
    weights = target.weights if ground.ndim == 2 else target.weights[..., None]
    result = ground.copy()
    part = result[target.rows, target.columns]
    painted = (painted + 1) * np.float32(127.5)
    if colors is not None:
        painted = colors.from_srgb(np.clip(np.round(painted), 0, 255).astype(np.uint8)).astype(np.float32)
    inside = target.weights > 0
    if blend == "poisson":
        painted = carry_rim(painted, part.astype(np.float32), inside)
    mixed = painted * weights + part * (1 - weights)
    if grain:
        mixed = add_grain(mixed, ground, inside, target.rows.start, target.columns.start)
    part[...] = np.where(weights > 0, np.clip(np.round(mixed), 0, 255).astype(np.uint8), part)
    return result


def find_target(hole: NDArray[np.uint8], frame: PhotoFrame, feather_px: float) -> PasteTarget | None:
    """The part of the hole that the frame covers.

    Args:
        hole: (H, W) uint8, hole = 1.
        frame: the model's square in the photo.
        feather_px: width of the soft transition inside of the hole, px.

    Returns:
        The target; None where the frame covers nothing of the hole.
    """
    rows, columns = (np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    # One pixel more on each side, so that the feather sees where the hole ends.
    top, left = max(0, int(rows[0]) - 1), max(0, int(columns[0]) - 1)
    region = (
        slice(top, min(hole.shape[0], int(rows[-1]) + 2)),
        slice(left, min(hole.shape[1], int(columns[-1]) + 2)),
    )
    inside = (hole[region] == 1) & frame.covers(*region)
    if not inside.any():
        return None
    if not feather_px or inside.all():
        return PasteTarget(*region, inside.astype(np.float32))
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return PasteTarget(*region, np.minimum(np.asarray(distance, np.float32) / np.float32(feather_px + 1), 1))


def ink_notes(lines: NDArray[np.uint8], hole: NDArray[np.uint8]) -> tuple[str, ...]:
    """What to say of ink outside of the hole; both (H, W) uint8 of 0 and 1."""
    total = int(lines.sum())
    outside = int((lines & ~hole).sum())
    if not total:
        return ("the sketch has no lines, so the hole is filled without any",)
    if not outside:
        return ()
    share = 100 * outside / total
    return (f"{outside:,} of {total:,} px of ink ({share:.0f} %) are outside the mask and are ignored",)


def hole_notes(hole: NDArray[np.uint8], target: PasteTarget | None) -> tuple[str, ...]:
    """What to say of a hole (H, W) that is empty, that the frame does not cover, or that is all feather."""
    total = int(hole.sum())
    if not total:
        return ("the mask has no hole, so nothing is edited",)
    strongest = 1.0 if target is None else float(target.weights.max())
    faint = (f"the feather is wider than the hole, so {100 * strongest:.0f} % of the result is seen at the most",)
    feathered = faint if strongest < 0.5 else ()
    missed = total - (0 if target is None else int((target.weights > 0).sum()))
    if not missed:
        return feathered
    return (
        *feathered,
        f"{missed:,} of {total:,} px of the hole ({100 * missed / total:.0f} %) are outside the face's frame and "
        "stay as they are; --box or --eyes moves the frame",
    )
