"""Fixtures that several rooms share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same cases on every run: a failure that nobody can repeat helps nobody.
settings.register_profile("house", derandomize=True, deadline=None)
settings.load_profile("house")

# One thread a test process where nothing else is asked for (`make test THREADS=2`): two that wait for each other on a
# busy core take a hundred times as long.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))


# A job in the background ignores Ctrl-C, and would hand that on to the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos of 256 px: the astronaut and five sample faces."""
    from dpsdata.images.arrays import resize_photo
    from dpsdata.images.codec import write_photo
    from dpsdata.samples import crop_astronaut, read_sample_face

    folder = tmp_path_factory.mktemp("sample") / "faces"
    folder.mkdir()
    write_photo(folder / "astronaut.png", crop_astronaut())
    for number in range(1, 6):
        write_photo(folder / f"face_{number:04d}.png", resize_photo(read_sample_face(number), 256))
    return folder


@pytest.fixture(scope="session")
def tiny_hed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HED file of width 2 with random weights: quick, and its maps are not flat."""
    from dpsdata.hed import HED
    from dpsdata.weights.store import write_safetensors

    torch.manual_seed(5)
    net = HED(2, "compact")
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write_safetensors(
        path, {key: value.contiguous() for key, value in net.state_dict().items()}, {"variant": "compact"}
    )
    return path
