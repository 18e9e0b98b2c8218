"""Networks behind a stem, and the discriminator that is trained with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dpsdata.contracts import UsageError
from models.editing.loading import collect_checkpoints, load_editing_net
from models.networks.config import published_config, stem_config
from models.networks.discriminator import HighPassConfig, HighPassDiscriminator, blur
from models.networks.editing_net import EditingNet, Refiner, RefinerConfig
from models.networks.inference import fold_batch_norm, merge_up_convolutions
from models.networks.initialisation import initialise_weights
from models.networks.inpainter import Inpainter, InpainterConfig
from models.weights.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def small() -> EditingNet:
    refiner = Refiner(RefinerConfig(width=8, max_width=16, residual_blocks=1, style_width=8, resolutions=(64,), stem=4))
    inpainter = Inpainter(InpainterConfig(width=8, max_width=16, resolution=64, stem=4))
    for name, net in (("refiner", refiner), ("inpainter", inpainter)):
        initialise_weights(net, 3, name)
    return EditingNet(refiner, inpainter).eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand((2, 3, 64, 64), generator=generator) * 2 - 1
    sketch = (torch.rand((2, 1, 64, 64), generator=generator) > 0.9).float()
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 16:48, 16:48] = 1
    return photo, sketch, mask


def test_a_network_behind_a_stem_gives_what_one_without_gives(small: EditingNet) -> None:
    photo, sketch, mask = inputs()
    with torch.no_grad():
        found = small(photo, sketch, mask, torch.tensor([0.0, 1.0]))
    assert found.refined_sketch.shape == (2, 1, 64, 64)
    assert found.inpainter_photo.shape == (2, 3, 64, 64)
    assert float(found.inpainter_photo.abs().max()) <= 1
    assert not torch.equal(found.refined_sketch[0], found.refined_sketch[1])


def test_weights_behind_a_stem_are_read_as_they_were_written(small: EditingNet, tmp_path: Path) -> None:
    for checkpoint in collect_checkpoints(small):
        write_checkpoint(tmp_path / f"{checkpoint.network}.safetensors", checkpoint)
    again = load_editing_net(tmp_path)
    assert (again.refiner.config, again.inpainter.config) == (small.refiner.config, small.inpainter.config)
    photo, sketch, mask = inputs()
    with torch.no_grad():
        before = small(photo, sketch, mask, 0.5).inpainter_photo
        assert torch.equal(before, again(photo, sketch, mask, 0.5).inpainter_photo)
        fold_batch_norm(again.inpainter)
        merge_up_convolutions(again)
        ready = again(photo, sketch, mask, 0.5).inpainter_photo
    assert float((ready - before).abs().max()) < 1e-4 * float(before.abs().max())


def test_published_cards_know_no_stem() -> None:
    config = published_config("edit", 64)
    net = EditingNet(
        Refiner(replace(config.refiner, width=8, max_width=16)), Inpainter(replace(config.inpainter, width=8))
    )
    assert all("stem" not in checkpoint.card()["config"] for checkpoint in collect_checkpoints(net))


def test_coarser_networks_run_on_grids_of_the_same_size() -> None:
    config = RefinerConfig(width=8, max_width=16, residual_blocks=1, style_width=8, resolutions=(64, 128), stem=2)
    assert [config.stem_at(size) for size in config.resolutions] == [1, 2]
    assert config.up_to(64).stem == 1
    refiner = Refiner(config)
    output = refiner({size: torch.zeros(1, 7, size, size) for size in (64, 128)}, 0.5)
    assert output.outputs[128].shape == (1, 4, 128, 128)
    assert {feature.shape[-1] for feature in output.features.values()} == {64}


def test_stems_that_cannot_be_are_refused() -> None:
    for stem in (0, 3, 8):
        with pytest.raises(UsageError, match="stem: expected one of 1, 2, 4"):
            InpainterConfig(stem=stem)
    with pytest.raises(UsageError, match="grid of 8 px"):
        RefinerConfig(resolutions=(32,), stem=4)


def test_files_of_256_px_stay_under_24_megabytes_in_fp16() -> None:
    for task in ("edit", "synthesis"):
        config = stem_config(task)
        with torch.device("meta"):
            nets = (Refiner(config.refiner), Inpainter(config.inpainter))
        assert sum(2 * value.numel() for net in nets for value in net.parameters()) < 24e6


def test_the_discriminator_reads_the_hole_alone() -> None:
    discriminator = HighPassDiscriminator(HighPassConfig(width=4))
    initialise_weights(discriminator, 0, "critic")
    photo, sketch, mask = torch.zeros(2, 3, 128, 128), torch.zeros(2, 1, 128, 128), torch.zeros(2, 1, 128, 128)
    mask[:, :, 8:24, 8:24] = 1
    far, inside = photo.clone(), photo.clone()
    far[:, :, 100:, 100:] = 1.0
    inside[:, :, 12:16, 12:16] = 1.0
    with torch.no_grad():
        verdict, distant, near = (
            discriminator(discriminator.prepare(each, sketch, mask)) for each in (photo, far, inside)
        )
    assert [share.shape for share in verdict.shares] == [score.shape for score in verdict.scores]
    assert not torch.equal(verdict.scores[0], distant.scores[0]), "its patches see it"
    assert torch.equal(verdict.mean(), distant.mean()), "and do not count"
    assert verdict.mean().shape == (2,)
    assert not torch.equal(verdict.mean(), near.mean())


def test_what_is_fine_is_amplified() -> None:
    flat = torch.full((1, 3, 16, 16), 0.25)
    assert torch.allclose(blur(flat), flat)
    discriminator = HighPassDiscriminator(HighPassConfig(width=2, scales=1, gain=8))
    photo = torch.zeros(1, 3, 16, 16)
    photo[:, :, 8, 8] = 1.0
    read = torch.nn.functional.pixel_shuffle(discriminator.prepare(photo, torch.zeros(1, 1, 16, 16), None)[0], 2)
    assert read[0, 3, 8, 8].item() == pytest.approx(8 * (1 - (6 / 16) ** 2))
    assert torch.equal(read[:, 6:9], read[:, 3:6].abs())
