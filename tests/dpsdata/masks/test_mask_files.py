from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.images.codec import write_mask
from dpsdata.masks import make_mask


def fill(folder: Path, names: list[str], size: int = 32) -> dict[str, np.ndarray]:
    """One mask for each name: the rows from its number on are the hole."""
    masks = {}
    for number, name in enumerate(names, 1):
        mask = np.zeros((size, size), np.uint8)
        mask[number:, ::2] = 1
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_mask(folder / name, mask)
        masks[name] = mask
    return masks


def test_the_file_of_the_same_id_is_taken(tmp_path: Path) -> None:
    masks = fill(tmp_path, ["a.png", "b.png", "sub/c.png"])
    family = f"files:{tmp_path}"
    for seed in (0, 1):
        assert np.array_equal(make_mask(family, 32, 32, seed, "b"), masks["b.png"])
        assert np.array_equal(make_mask(family, 32, 32, seed, "sub__c"), masks["sub/c.png"])


def test_other_ids_choose_by_seed_and_id_and_not_by_place(tmp_path: Path) -> None:
    names = [f"{number:02d}.png" for number in range(10)]
    fill(tmp_path / "one", names)
    fill(tmp_path / "two", names[::-1])
    fill(tmp_path / "two", names)  # written in another order, then with the same content
    ids = [f"photo{number}" for number in range(60)]
    one = [make_mask(f"files:{tmp_path / 'one'}", 32, 32, 0, name).tobytes() for name in ids]
    two = [make_mask(f"files:{tmp_path / 'two'}", 32, 32, 0, name).tobytes() for name in ids]
    other_seed = [make_mask(f"files:{tmp_path / 'one'}", 32, 32, 1, name).tobytes() for name in ids]
    assert one == two
    assert one != other_seed
    assert len(set(one)) >= 8


def test_resized_without_mixing(tmp_path: Path) -> None:
    mask = fill(tmp_path, ["a.png"], 16)["a.png"]
    assert np.array_equal(make_mask(f"files:{tmp_path}", 32, 48, 0, "a"), mask.repeat(2, 0).repeat(3, 1))


def test_an_all_black_file_stays_empty(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png", np.zeros((16, 16), np.uint8))
    assert not make_mask(f"files:{tmp_path}", 16, 16, 0).any()


def test_a_new_file_is_seen(tmp_path: Path) -> None:
    fill(tmp_path, ["a.png"])
    family = f"files:{tmp_path}"
    before = make_mask(family, 32, 32, 0, "b")
    masks = fill(tmp_path, ["a.png", "b.png"])
    later = tmp_path.stat().st_mtime_ns + 1_000_000
    os.utime(tmp_path, ns=(later, later))
    assert np.array_equal(make_mask(family, 32, 32, 0, "b"), masks["b.png"])
    assert not np.array_equal(before, masks["b.png"])


def test_missing_empty_and_broken(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder"):
        make_mask(f"files:{tmp_path / 'no'}", 32, 32, 0)
    with pytest.raises(UsageError, match="no image file"):
        make_mask(f"files:{tmp_path}", 32, 32, 0)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="expected a folder"):
        make_mask(f"files:{tmp_path / 'bad.png'}", 32, 32, 0)
    with pytest.raises(BrokenImageError, match=r"mask bad\.png: not a JPEG"):
        make_mask(f"files:{tmp_path}", 32, 32, 0)
