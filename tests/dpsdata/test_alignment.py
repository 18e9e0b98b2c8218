from __future__ import annotations

import numpy as np
import pytest

from dpsdata.images.faces import AlignmentCheck, check_alignment, choose_probes, looks_aligned
from dpsdata.samples import FACE_COUNT, crop_astronaut, read_sample_face


def test_aligned_astronaut() -> None:
    photo = crop_astronaut()
    assert looks_aligned(photo) is True
    assert looks_aligned(np.repeat(np.repeat(photo, 2, 0), 2, 1)) is True  # 512 px


def test_off_centre_face_is_not_aligned() -> None:
    photo = crop_astronaut()
    moved = np.roll(photo, -60, axis=1)
    moved[:, -60:] = 128
    assert looks_aligned(moved) is False


def test_small_face_is_not_aligned() -> None:
    canvas = np.full((256, 256, 3), 128, np.uint8)
    canvas[64:192, 64:192] = crop_astronaut()[::2, ::2]
    assert not looks_aligned(canvas)


def test_no_face() -> None:
    assert looks_aligned(np.full((256, 256, 3), 128, np.uint8)) is None


def test_sample_faces_lie_in_the_frame() -> None:
    check = check_alignment([read_sample_face(number) for number in range(1, FACE_COUNT + 1)])
    assert check.found_count >= FACE_COUNT - 2  # the cascade looks for frontal faces, and two heads are turned
    assert check.aligned_count == check.found_count


def test_share_over_several_photos() -> None:
    blank = np.full((256, 256, 3), 128, np.uint8)
    check = check_alignment([crop_astronaut(), read_sample_face(1), blank])
    assert check == AlignmentCheck(checked_count=3, found_count=2, aligned_count=2)
    assert check.share == pytest.approx(2 / 3)
    assert check.is_aligned
    assert not AlignmentCheck(0, 0, 0).is_aligned


def test_probes_do_not_depend_on_the_order() -> None:
    ids = [f"face{number}" for number in range(100)]
    probes = choose_probes(ids)
    assert len(set(probes)) == 16
    assert probes == choose_probes(ids[::-1])
    assert choose_probes(["a"]) == ["a"]
