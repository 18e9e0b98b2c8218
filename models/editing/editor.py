"""`Editor`: photo, sketch and mask of any size to edited photos at one or several refinement levels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsdata.contracts import UsageError, check_level
from dpsdata.images.arrays import photo_to_tensor
from dpsdata.images.color_profile import ColorSpace
from dpsdata.runtime.device import check_precision, choose_device
from dpsdata.sketch.simplify import thin_lines
from models.editing.compositing import find_target, hole_notes, ink_notes, paste, whole_target
from models.editing.loading import load_editing_net
from models.editing.photo_frame import Box, NoFaceError, PhotoFrame, box_frame, eyes_frame, find_frame, whole_frame
from models.editing.request import Blend, check_blend
from models.editing.user_inputs import check_same_size, find_hole, find_lines
from models.networks.config import Task
from models.networks.editing_net import EditingNet, EditTensors
from models.networks.inference import float64_linears, fold_batch_norm, merge_up_convolutions

if TYPE_CHECKING:
    from models.editing.loading import Source

Photo = NDArray[np.uint8]
_MAX_FEATHER_PX = 1000
# One 256 px photo at a time: feature maps of more fall out of the cache and are given back to the system each time,
# which costs a third of the speed (tests/benchmarks/edit_speed.py).
_CPU_CHUNK_PX = 256 * 256


@dataclass(frozen=True, eq=False)
class EditResult:
    """One photo at one level, at the photo's own size (for synthesis at the sketch's).

    Attributes:
        level: refinement level.
        photo: uint8 (H, W, 3), F's photo in the hole, every other pixel as it was.
        refined_sketch: uint8 (H, W), black line on white, white outside of the hole.
        refiner_photo: uint8 (H, W, 3), G's own photo in the hole.
    """

    level: float
    photo: Photo
    refined_sketch: NDArray[np.uint8]
    refiner_photo: Photo


class Editor:
    """G and F behind two doors: numpy pictures of any size, or contract tensors at the model's resolution.

    Args:
        net: the networks, which the editor moves to its device.
        device: `cpu`, `cuda`, `cuda:N` or `auto`.
        precision: `fp32` (the reference) or `bf16` where the hardware has it.
        compiled: compile the networks with `torch.compile` at the first edit, which takes a minute and pays for long
            runs on a GPU.

    Raises:
        UsageError: no such device or precision here.

    Attributes:
        net: the networks in eval mode.
        notes: what a person should know about the last photo, sketch and mask.
        frame: where the model's square lies in the photo that was set; None before that, and for synthesis.
    """

    def __init__(self, net: EditingNet, device: str = "cpu", precision: str = "fp32", compiled: bool = False) -> None:
        self.device = choose_device(device)
        if precision not in ("fp32", "bf16"):
            raise UsageError(f"precision: an edit runs in fp32 or bf16, got {precision!r}")
        self.precision = check_precision(precision, self.device)
        self.net = net.eval().to(self.device).to(memory_format=torch.channels_last)
        self._run: Callable[..., EditTensors] = torch.compile(self.net) if compiled else self.net
        self.frame: PhotoFrame | None = None
        self._photo: Photo | None = None
        self._photo_tensor: Tensor | None = None
        self._colors: ColorSpace | None = None
        self._photo_notes: tuple[str, ...] = ()
        self._notes: tuple[str, ...] = ()

    @classmethod
    def from_pretrained(
        cls,
        weights: str | PathLike[str] | Mapping[str, Source] = "bundled",
        *,
        task: str = "edit",
        device: str = "cpu",
        precision: str = "fp32",
        compiled: bool = False,
    ) -> Self:
        """Load G and F, made ready for inference (see `models.networks.inference`).

        Args:
            weights: `bundled`, `official` or a folder of weights; see `load_editing_net`.
            task: `edit` or `synthesis`.
            device: `cpu`, `cuda`, `cuda:N` or `auto`.
            precision: `fp32` (the reference) or `bf16` where the hardware has it.
            compiled: compile the networks with `torch.compile`; pays for long runs on a GPU.

        Raises:
            UsageError: no such task, device or precision, or the named networks do not make a whole model.
            MissingError: weights are missing, damaged, or of another network or task.
        """
        check_precision(precision, choose_device(device))
        net = load_editing_net(weights, task)
        fold_batch_norm(net.inpainter)
        merge_up_convolutions(net)
        float64_linears(net)
        return cls(net, device, precision, compiled)

    def to(self, device: str) -> Self:
        """Move the networks, and the photo that is set, to another device.

        Args:
            device: `cpu`, `cuda`, `cuda:N` or `auto`.

        Returns:
            This editor.

        Raises:
            UsageError: no such device here, or it does not run the editor's precision.
        """
        chosen = choose_device(device)
        check_precision(self.precision, chosen)
        self.device = chosen
        self.net.to(chosen)
        if self._photo_tensor is not None:
            self._photo_tensor = self._photo_tensor.to(chosen)
        return self

    @property
    def task(self) -> Task:
        """`edit` or `synthesis`."""
        return self.net.task

    @property
    def resolution(self) -> int:
        """Side of the model's images, px."""
        return self.net.resolution

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the photo that is set and about the last sketch and mask, such as ink that is ignored."""
        return self._photo_notes + self._notes

    @torch.no_grad()
    def forward(self, photo: Tensor | None, sketch: Tensor, mask: Tensor | None, level: float | Tensor) -> EditTensors:
        """The tensor door: see `EditingNet.forward` for arguments, result and errors; nothing is composited."""
        if self.device.type != "cpu":
            return self._forward_once(photo, sketch, mask, level)
        levels = level if isinstance(level, Tensor) and level.numel() > 1 else None
        count = sketch.shape[0] if levels is None else max(sketch.shape[0], levels.numel())
        step = max(1, _CPU_CHUNK_PX // self.resolution**2)
        if count <= step or (levels is not None and levels.numel() != count) or sketch.shape[0] not in (1, count):
            return self._forward_once(photo, sketch, mask, level)
        parts = []
        for start in range(0, count, step):
            chunk = slice(start, start + step)
            known = [None if tensor is None else _take(tensor, chunk) for tensor in (photo, mask)]
            some_levels = level if levels is None else levels[chunk]
            parts.append(self._forward_once(known[0], _take(sketch, chunk), known[1], some_levels))
        return EditTensors(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _forward_once(
        self, photo: Tensor | None, sketch: Tensor, mask: Tensor | None, level: float | Tensor
    ) -> EditTensors:
        if self.precision == "fp32":
            return self._run(photo, sketch, mask, level)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            result = self._run(photo, sketch, mask, level)
        return EditTensors(*(value.float() for value in result))

    def set_photo(
        self,
        photo: Photo,
        align: Literal["auto", "none"] = "auto",
        box: Box | None = None,
        eyes: Box | None = None,
        mask: NDArray[np.uint8] | None = None,
        colors: ColorSpace | None = None,
    ) -> PhotoFrame:
        """Take in a photo, to be edited by `predict_levels` as often as wanted.

        Args:
            photo: uint8 (H, W, 3) RGB, upright.
            align: `auto` finds the face; `none` takes the whole photo as an aligned crop.
            box: left, top, width and height in px of the square to edit, from hair to shoulders as CelebA-HQ has it;
                instead of `align`.
            eyes: x1, y1, x2, y2 in px, the centres of the eyes; instead of `align`.
            mask: as in `predict_levels`; where several faces are found, the one that the hole lies on is taken.
            colors: the photo's colour space where it is not sRGB; results are in it too.

        Returns:
            Where the model's square lies in the photo.

        Raises:
            NoFaceError: no face was found; the options that help are named.
            OutsideFacesError: the hole is outside every face.
            UsageError: an argument breaks its contract, or the editor is one of synthesis.
        """
        if self.task != "edit":
            raise UsageError("synthesis takes no photo; load the editor with task='edit'")
        if not isinstance(photo, np.ndarray) or photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
            got = f"{photo.dtype} of shape {photo.shape}" if isinstance(photo, np.ndarray) else type(photo).__name__
            raise UsageError(f"photo: expected uint8 (H, W, 3), got {got}")
        if not photo.size:
            raise UsageError(f"photo: expected at least one pixel, got shape {photo.shape}")
        hole = None if mask is None else find_hole(mask)
        if hole is not None and hole.shape != photo.shape[:2]:
            (height, width), (tall, wide) = photo.shape[:2], hole.shape
            raise UsageError(
                f"photo and mask must have one size (px, upright), got photo {width} x {height}, mask {wide} x {tall}"
            )
        self.frame = self._choose_frame(photo, align, box, eyes, hole)
        self._photo, self._colors = photo.copy(), colors
        seen = self.frame.take_photo(photo)
        seen = seen if colors is None else colors.to_srgb(seen)
        self._photo_tensor = photo_to_tensor(seen[None]).to(self.device)
        self._photo_notes, self._notes = (), ()
        if self.frame.is_whole and photo.shape[0] != photo.shape[1]:
            self._photo_notes = (
                f"the photo is not square ({photo.shape[1]} x {photo.shape[0]} px) and is taken whole, so the networks "
                "see it stretched; --box names a square instead",
            )
        return self.frame

    def predict_levels(
        self,
        sketch: NDArray[np.uint8],
        mask: NDArray[np.uint8] | None,
        levels: Sequence[float],
        feather_px: float = 0.0,
        blend: Blend = "none",
        grain: bool = False,
    ) -> list[EditResult]:
        """Edit the photo that was set, at all levels in one batch.

        Args:
            sketch: uint8 (H, W), black line on white (light on dark is told and turned), strokes of any width; H and W
                of the photo.
            mask: uint8 (H, W), white (over 127) = hole; None for synthesis.
            levels: refinement levels in [0, 1].
            feather_px: width of the soft transition inside of the hole, px; nothing outside ever changes.
            blend: `poisson` carries the colours along the rim of the hole into it, without a feather.
            grain: give the hole the fine noise of the photo around it.

        Returns:
            One result for each level, in their order.

        Raises:
            UsageError: an argument breaks its contract, the sizes differ, or no photo was set.
        """
        wanted = [check_level(level) for level in levels]
        if not wanted:
            raise UsageError("levels: expected at least one number in [0, 1], got none")
        if not 0 <= feather_px <= _MAX_FEATHER_PX:
            raise UsageError(f"feather_px: expected 0 to {_MAX_FEATHER_PX} px, got {feather_px!r}")
        check_blend(blend, feather_px)
        lines, notes = find_lines(sketch)
        self._notes = notes
        if self.task == "synthesis":
            if mask is not None:
                raise UsageError("synthesis takes a sketch alone: mask must be None")
            return self._synthesise(lines, wanted)
        if self._photo is None or self.frame is None or self._photo_tensor is None:
            raise UsageError("no photo is set; call set_photo(photo) first, or predict(photo, sketch, mask, levels)")
        if mask is None:
            raise UsageError("editing takes a mask beside the sketch: mask may not be None")
        hole = find_hole(mask)
        if ((mask > 32) & (mask < 223)).mean() > 0.5:
            words = "mask: more than half of it is neither black nor white, as a photo is; what is over 127 is painted"
            warnings.warn(words, stacklevel=2)
        check_same_size(self._photo, sketch, mask)
        self._notes += ink_notes(lines, hole)
        target = find_target(hole, self.frame, feather_px)
        self._notes += hole_notes(hole, target)
        if target is None:
            blank = np.full(hole.shape, 255, np.uint8)
            return [EditResult(level, self._photo.copy(), blank.copy(), self._photo.copy()) for level in wanted]
        out = self.forward(
            self._photo_tensor,
            self._to_tensor(thin_lines(self.frame.take_marks(lines & hole))),
            self._to_tensor(self.frame.take_marks(hole)),
            torch.tensor(wanted),
        )
        return [
            EditResult(
                level,
                paste(self._photo, out.inpainter_photo[index], target, self.frame, self._colors, blend, grain),
                paste(np.full(hole.shape, 255, np.uint8), 1 - 2 * out.refined_sketch[index], target, self.frame),
                paste(self._photo, out.refiner_photo[index], target, self.frame, self._colors, blend, grain),
            )
            for index, level in enumerate(wanted)
        ]

    def predict(
        self,
        photo: Photo | None,
        sketch: NDArray[np.uint8],
        mask: NDArray[np.uint8] | None,
        levels: Sequence[float],
        align: Literal["auto", "none"] = "auto",
        feather_px: float = 0.0,
        blend: Blend = "none",
        grain: bool = False,
    ) -> list[EditResult]:
        """`set_photo` and `predict_levels` in one call; where no face is found, the whole photo is the frame.

        Args:
            photo: uint8 (H, W, 3) RGB; None for synthesis.
            sketch: as in `predict_levels`.
            mask: as in `predict_levels`.
            levels: as in `predict_levels`.
            align: as in `set_photo`.
            feather_px: as in `predict_levels`.
            blend: as in `predict_levels`.
            grain: as in `predict_levels`.

        Returns:
            One result for each level.

        Raises:
            UsageError: an argument breaks its contract, or the sizes differ.
        """
        if self.task == "edit":
            if photo is None:
                raise UsageError("editing takes a photo beside the sketch: photo may not be None")
            try:
                self.set_photo(photo, align, mask=mask)
            except NoFaceError:
                self.set_photo(photo, "none")
                self._photo_notes = (
                    "no face was found, so the whole photo is taken as an aligned crop",
                    *self._photo_notes,
                )
        elif photo is not None:
            raise UsageError("synthesis takes a sketch alone: photo must be None")
        return self.predict_levels(sketch, mask, levels, feather_px, blend, grain)

    def _choose_frame(
        self, photo: Photo, align: str, box: Box | None, eyes: Box | None, hole: NDArray[np.uint8] | None
    ) -> PhotoFrame:
        height, width = photo.shape[:2]
        if box is not None and eyes is not None:
            raise UsageError("box and eyes exclude each other: give one of them")
        if box is not None:
            return box_frame(height, width, self.resolution, box)
        if eyes is not None:
            return eyes_frame(height, width, self.resolution, eyes)
        if align not in ("auto", "none"):
            raise UsageError(f"align: expected auto or none, got {align!r}")
        if align == "none":
            return whole_frame(height, width, self.resolution)
        return find_frame(photo, self.resolution, hole)

    def _synthesise(self, lines: NDArray[np.uint8], levels: list[float]) -> list[EditResult]:
        height, width = lines.shape
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        if height != width:
            lines = np.pad(lines, ((top, side - height - top), (left, side - width - left)))
            self._notes += (
                f"the sketch is not square ({width} x {height} px), so it is centred in a square of {side} px "
                "with paper around, and the face keeps its shape",
            )
        frame = whole_frame(side, side, self.resolution)
        out = self.forward(None, self._to_tensor(thin_lines(frame.take_marks(lines))), None, torch.tensor(levels))
        target = whole_target(side, side)
        paper, blank = np.full((side, side), 255, np.uint8), np.zeros((side, side, 3), np.uint8)
        part = slice(top, top + height), slice(left, left + width)
        return [
            EditResult(
                level,
                paste(blank, out.inpainter_photo[index], target, frame)[part].copy(),
                paste(paper, 1 - 2 * out.refined_sketch[index], target, frame)[part].copy(),
                paste(blank, out.refiner_photo[index], target, frame)[part].copy(),
            )
            for index, level in enumerate(levels)
        ]

    def _to_tensor(self, marks: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(marks[None, None].astype(np.float32)).to(self.device)


def _take(tensor: Tensor, chunk: slice) -> Tensor:
    """The samples of a chunk; the only one where there is one for all levels."""
    return tensor if tensor.shape[0] == 1 else tensor[chunk]


def load_editor(
    weights: str | PathLike[str] | Mapping[str, Source] = "bundled",
    task: str = "edit",
    device: str = "cpu",
    precision: str = "fp32",
    compiled: bool = False,
) -> Editor:
    """`Editor.from_pretrained` as a function, with the same arguments and errors."""
    return Editor.from_pretrained(weights, task=task, device=device, precision=precision, compiled=compiled)
