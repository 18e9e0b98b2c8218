"""G and F as one network, from a one-pixel sketch to the painted photo, at the model's own resolution."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from dpsdata.contracts import UsageError, check_mask, check_photo, check_sketch
from dpsdata.sketch import dilate_sketch, smooth_sketch
from models.networks.config import EDIT_CHANNELS, Task
from models.networks.inpainter import Inpainter
from models.networks.published_signs import network_input, refiner_inputs, split_output
from models.networks.refiner import Refiner, level_column


class EditTensors(NamedTuple):
    """What `EditingNet` returns; nothing is composited.

    Attributes:
        dilated_sketch: (N, 1, S, S) in [0, 1], line = 1: the whole sketch, smoothed and dilated for the level.
        refined_sketch: (N, 1, S, S) in [0, 1], line = 1, from G; 0 outside of the hole.
        refiner_photo: (N, 3, S, S) RGB in [-1, 1], G's own photo.
        inpainter_photo: (N, 3, S, S) RGB in [-1, 1], F's photo, the result.
    """

    dilated_sketch: Tensor
    refined_sketch: Tensor
    refiner_photo: Tensor
    inpainter_photo: Tensor


class EditingNet(nn.Module):
    """G and F together.

    Args:
        refiner: G.
        inpainter: F, of the same task and of G's finest resolution.

    Raises:
        UsageError: the two do not fit each other.

    Source: Yang et al., Deep Plastic Surgery, ECCV 2020; VITA-Group/DeepPS@3079d46 src/test.py.
    """

    def __init__(self, refiner: Refiner, inpainter: Inpainter) -> None:
        super().__init__()
        if refiner.config.input_channels != inpainter.config.input_channels:
            raise UsageError(
                f"G takes {refiner.config.input_channels} channels and F {inpainter.config.input_channels}; "
                "both must be of one task (7 for editing, 3 for synthesis)"
            )
        if refiner.config.resolutions[-1] != inpainter.config.resolution:
            raise UsageError(
                f"G ends at {refiner.config.resolutions[-1]} px and F works at {inpainter.config.resolution} px; "
                "both must be of one resolution"
            )
        self.refiner = refiner
        self.inpainter = inpainter

    @property
    def task(self) -> Task:
        """`edit` or `synthesis`."""
        return "edit" if self.inpainter.config.input_channels == EDIT_CHANNELS else "synthesis"

    @property
    def resolution(self) -> int:
        """Side of the square images, in px."""
        return self.inpainter.config.resolution

    def forward(self, photo: Tensor | None, sketch: Tensor, mask: Tensor | None, level: float | Tensor) -> EditTensors:
        """Refine the sketch and paint the photo.

        Args:
            photo: (N, 3, S, S) float32 RGB in [-1, 1], S the resolution; what lies in the hole is not read. None for
                synthesis.
            sketch: (N, 1, S, S) float32 in [0, 1], one-pixel lines, line = 1.
            mask: (N, 1, S, S) float32 in {0, 1}, hole = 1; None for synthesis.
            level: refinement level in [0, 1]: a number, (N,) with one for each sample, or (L,) for one sample at
                L levels, which then is repeated.

        Returns:
            Four tensors of N (or L) samples.

        Raises:
            UsageError: a tensor breaks its contract or has another size, or photo and mask do not fit the task.
        """
        self._check(photo, sketch, mask)
        count = level.numel() if isinstance(level, Tensor) and sketch.shape[0] == 1 else sketch.shape[0]
        levels = level_column(level, sketch.expand(count, -1, -1, -1))
        pen = smooth_sketch(sketch).expand(count, -1, -1, -1)
        dilated = dilate_sketch(pen, level, self.refiner.config.pen_px(self.resolution))
        photo = None if photo is None else photo.expand(count, -1, -1, -1)
        mask = None if mask is None else mask.expand(count, -1, -1, -1)
        inputs = refiner_inputs(dilated, photo, mask, self.refiner.config.resolutions)
        output = self.refiner(inputs, levels[:, 0]).outputs[self.resolution]
        refined, refiner_photo = split_output(output, mask)
        painted = self.inpainter(network_input(refined, photo, mask))
        return EditTensors(dilated, refined, refiner_photo, painted)

    def _check(self, photo: Tensor | None, sketch: Tensor, mask: Tensor | None) -> None:
        check_sketch(sketch)
        expected = (sketch.shape[0], self.resolution, self.resolution)
        shapes = {"sketch": sketch}
        if self.task == "synthesis":
            if photo is not None or mask is not None:
                raise UsageError("synthesis takes a sketch alone: photo and mask must be None")
        elif photo is None or mask is None:
            raise UsageError("editing takes a photo and a mask beside the sketch: neither may be None")
        else:
            check_photo(photo)
            check_mask(mask)
            shapes |= {"photo": photo, "mask": mask}
        for name, value in shapes.items():
            if (value.shape[0], *value.shape[2:]) != expected:
                count, size, _ = expected
                raise UsageError(f"{name}: expected {count} of {size} x {size} px, got shape {tuple(value.shape)}")
