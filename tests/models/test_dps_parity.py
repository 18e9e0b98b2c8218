"""Parity with the reference networks under formula weights; the official files are written in the legacy format."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsdata.sketch import dilate_sketch, smooth_sketch
from models.editing.editor import load_editor
from models.editing.loading import load_discriminator
from models.networks.editing_net import EditTensors
from models.networks.published_signs import discriminator_input, refiner_inputs, shrink_mask, split_output
from models.weights.checkpoints import load_network, recognise

TOLERANCE = 1e-4
PORTABLE = Path(__file__).parents[1] / "parity"
SHARED = Path(__file__).resolve().parents[2].parent / "shared"
fill = runpy.run_path(str(PORTABLE / "formula_weights.py"))["fill"]
layouts = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("official_layouts.py"))))
OFFSETS = {"G64": 1, "G128": 2, "G256": 3, "D64": 4, "D128": 5, "D256": 6, "F256": 7, "F64": 7, "F128": 7}

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared arrays are not on this machine")


def formula_state(network: str, task: str, seed: int) -> dict[str, Tensor]:
    arrays = fill(layouts.official_shapes(network, task), seed + OFFSETS[network])
    return {key: torch.from_numpy(np.asarray(value)) for key, value in arrays.items()}


def as_photo(rgb: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb).transpose(2, 0, 1)[None].astype(np.float32)) / 255 * 2 - 1


def as_plane(grey: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(grey.astype(np.float32) / 255)[None, None]


def largest_errors(out: EditTensors, index: int, mask: Tensor | None, truth: Mapping[str, NDArray[np.float32]]) -> dict:
    """Compare in the published signs, as the arrays are stored."""
    published = 1 - 2 * out.refined_sketch[index, 0]
    refined = published if mask is None else published * mask[0, 0]
    ours = {
        "dilated_sketch": (1 - 2 * out.dilated_sketch[index, 0])[::2, ::2],
        "refined_sketch": refined[::4, ::4],
        "refiner_photo": out.refiner_photo[index, :, ::4, ::4],
        "inpainter_photo": out.inpainter_photo[index, :, ::4, ::4],
    }
    return {key: float(np.abs(value.numpy() - truth[key]).max()) for key, value in ours.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("task", "levels"), [("edit", ("0.00", "0.37", "1.00")), ("synthesis", ("0.37",))])
@torch.inference_mode()
def test_the_whole_path_at_256_px(tmp_path: Path, task: str, levels: tuple[str, ...]) -> None:
    stored = np.load(PORTABLE / f"dps_{layouts.TASKS[task].lower()}.npz")
    seed = int(stored["seed"])
    files = {}
    for network in ("G64", "G128", "G256", "F256"):
        files[network] = tmp_path / f"ECCV-{layouts.TASKS[task]}-celebaHQ-{network}.ckpt"
        layouts.save_legacy(formula_state(network, task, seed), files[network])
    net = load_editor(files, task)
    photo, sketch, mask = as_photo(stored["photo_rgb"]), 1 - as_plane(stored["sketch"]), as_plane(stored["mask"])
    hole = mask if task == "edit" else None
    out = net.forward(None if hole is None else photo, sketch, hole, torch.tensor([float(level) for level in levels]))
    for index, level in enumerate(levels):
        truth = {key.split("_", 1)[1]: stored[key] for key in stored if key.startswith(f"l{level}_")}
        errors = largest_errors(out, index, hole, truth)
        assert max(errors.values()) < TOLERANCE, (level, errors)
    if task == "edit":
        discriminator = load_discriminator(formula_state("D256", task, seed), 256, task)
        judged = discriminator(discriminator_input(out.refined_sketch[1:2], out.refiner_photo[1:2], hole))
        assert float(np.abs(judged[0].numpy() - stored["l0.37_critic_map"]).max()) < TOLERANCE


@pytest.mark.slow
@needs_shared
@torch.inference_mode()
def test_the_parts_at_64_and_128_px() -> None:
    stored = np.load(SHARED / "parity" / "dps" / "dps_parts_edt_1_l0.37.npz")
    panels = cv2.imread(str(SHARED / "data" / "samples" / "deepps" / "edit" / "1.png"), cv2.IMREAD_COLOR_RGB)
    photo, mask = as_photo(panels[:, :256]), as_plane(panels[:, 512:, 0])
    level = float(stored["level"])
    dilated = dilate_sketch(smooth_sketch(1 - as_plane(panels[:, 256:512, 0])), level)
    inputs = refiner_inputs(dilated, photo, mask, (64, 128))

    def error(ours: Tensor, key: str) -> float:
        step = max(1, ours.shape[-1] // stored[key].shape[-1])
        return float(np.abs(ours[0, :, ::step, ::step].numpy() - stored[key]).max())

    errors, coarser = {}, None
    for size, stack in inputs.items():
        refiner = load_network(recognise(formula_state(f"G{size}", "edit", 100), "x", f"G{size}"))
        output, coarser = refiner(stack, torch.tensor([[level]]), coarser)
        hole = shrink_mask(mask, size)
        discriminator = load_discriminator(formula_state(f"D{size}", "edit", 100), size)
        inpainter = load_network(recognise(formula_state(f"F{size}", "edit", 100), "x", f"F{size}"))
        errors |= {
            f"g{size}_input": error(stack, f"g{size}_input"),
            f"g{size}_feature": error(coarser, f"g{size}_feature"),
            f"g{size}_output": error(output, f"g{size}_output"),
            f"d{size}_map": error(
                discriminator(discriminator_input(*split_output(output, hole), hole)), f"d{size}_map"
            ),
            f"f{size}_photo": error(inpainter(stack), f"f{size}_photo"),
        }
    assert len(errors) == 10
    assert max(errors.values()) < TOLERANCE, errors
