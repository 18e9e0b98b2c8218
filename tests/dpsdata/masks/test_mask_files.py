from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.images.codec import write_mask
from dpsdata.masks import check_mask_files, make_mask, mask_folders, mask_source_key, read_or_draw_mask


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


def test_a_pool_chooses_by_seed_and_id_and_not_by_place(tmp_path: Path) -> None:
    names = [f"{number:02d}.png" for number in range(10)]
    fill(tmp_path / "one", names)
    fill(tmp_path / "two", names[::-1])
    fill(tmp_path / "two", names)  # written in another order, then with the same content
    ids = [f"photo{number}" for number in range(60)]
    one = [make_mask(f"pool:{tmp_path / 'one'}", 32, 32, 0, name).tobytes() for name in ids]
    two = [make_mask(f"pool:{tmp_path / 'two'}", 32, 32, 0, name).tobytes() for name in ids]
    other_seed = [make_mask(f"pool:{tmp_path / 'one'}", 32, 32, 1, name).tobytes() for name in ids]
    assert one == two
    assert one != other_seed
    assert len(set(one)) >= 8


def test_names_that_are_no_ids_are_no_pool(tmp_path: Path) -> None:
    fill(tmp_path, ["a_mask.png", "1.png", "x.png", "deep/y.png", "train/z.png", "twice.png", "twice.jpg"])
    (tmp_path / "._b.png").write_bytes(bytes(8))
    family = f"files:{tmp_path}"
    for name in ("a", "00001", "b", "val__z"):
        with pytest.raises(UsageError, match=rf"{name} would be .*the folder holds 7, such as 1\.png; .* pool:"):
            make_mask(family, 32, 32, 0, name)
    with pytest.raises(UsageError, match=r"twice has twice\.jpg, twice\.png"):
        make_mask(family, 32, 32, 0, "twice")
    assert make_mask(family, 32, 32, 0, "photos__x").any(), "a bare name"
    assert make_mask(family, 32, 32, 0, "y").any(), "a name with one more folder"
    check_mask_files(family, ["photos__x"], ["photos__x", "y"])
    with pytest.raises(UsageError, match=r"x\.png may be the mask of 2 photos, such as photos__x and other__x"):
        check_mask_files(family, ["photos__x"], ["photos__x", "other__x"])
    with pytest.raises(UsageError, match="2 of 3 photos have no mask: a would be a"):
        check_mask_files(family, ["1", "a", "q"], ["1", "a", "q"])
    with pytest.raises(UsageError, match="1 of 2 photos have more than one mask: twice has"):
        check_mask_files(family, ["1", "twice"], ["1", "twice"])


def test_resized_without_mixing(tmp_path: Path) -> None:
    mask = fill(tmp_path, ["a.png"], 16)["a.png"]
    assert np.array_equal(make_mask(f"files:{tmp_path}", 32, 48, 0, "a"), mask.repeat(2, 0).repeat(3, 1))


def test_a_mask_is_cropped_as_its_photo_is(tmp_path: Path) -> None:
    mask = np.zeros((32, 64), np.uint8)
    mask[:, 30:40] = 1
    write_mask(tmp_path / "a.png", mask)
    family = f"files:{tmp_path}"
    assert np.array_equal(make_mask(family, 32, 32, 0, "a"), mask[:, 16:48])
    assert np.array_equal(read_or_draw_mask(family, 32, 32, 0, "a", (320, 640))[0], mask[:, 16:48])
    with pytest.raises(BrokenImageError, match="64 x 32 px, another shape than its photo of 600 x 400 px"):
        read_or_draw_mask(family, 32, 32, 0, "a", (400, 600))


def test_a_file_without_a_hole_is_an_error(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png", np.zeros((16, 16), np.uint8))
    thin = np.zeros((64, 64), np.uint8)
    thin[:, 1] = 1
    write_mask(tmp_path / "b.png", thin)
    for name, reason in (
        ("a", r"mask a\.png: it has no hole"),
        ("b", r"mask b\.png: nothing of its hole is left at 16"),
    ):
        with pytest.raises(BrokenImageError, match=reason):
            make_mask(f"files:{tmp_path}", 16, 16, 0, name)


def test_a_new_file_is_seen(tmp_path: Path) -> None:
    fill(tmp_path, ["a.png"])
    family = f"files:{tmp_path}"
    with pytest.raises(UsageError, match="b would be"):
        make_mask(family, 32, 32, 0, "b")
    masks = fill(tmp_path, ["a.png", "b.png"])
    later = tmp_path.stat().st_mtime_ns + 1_000_000
    os.utime(tmp_path, ns=(later, later))
    assert np.array_equal(make_mask(family, 32, 32, 0, "b"), masks["b.png"])


def test_the_key_is_of_names_and_bytes(tmp_path: Path) -> None:
    fill(tmp_path / "one", ["a.png", "sub/b.png"])
    fill(tmp_path / "two", ["a.png", "sub/b.png"])
    (tmp_path / "two/._a.png").write_bytes(b"no mask")
    one, two = (f"files:{tmp_path / name}" for name in ("one", "two"))
    before = mask_source_key(one)
    assert before == mask_source_key(two)
    path = tmp_path / "one/a.png"
    times, size = path.stat(), path.stat().st_size
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == size
    assert mask_source_key(one) != before, "edited in place, with size and time kept"


def test_folders_of_one_name_are_told_apart() -> None:
    keys = {"files:a/m": "sha256:0123456789abcdef", "files:b/m": "sha256:0123456700000000", "dps": ""}
    assert mask_folders(["files:a/m", "dps"], keys) == {"files:a/m": "files-m", "dps": "dps"}
    assert mask_folders(["files:a/m", "files:b/m"], keys) == {
        "files:a/m": "files-m-89abcdef",
        "files:b/m": "files-m-00000000",
    }
    assert mask_folders(["pool:a/m"], keys) == {"pool:a/m": "pool-m"}
    with pytest.raises(UsageError, match="hold the same masks"):
        mask_folders(["files:a/m", "files:./a/m"], {"files:a/m": "sha256:1", "files:./a/m": "sha256:1"})


def test_missing_empty_and_broken(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder of mask images, but there is none"):
        make_mask(f"files:{tmp_path / 'no'}", 32, 32, 0)
    with pytest.raises(UsageError, match="no image file"):
        make_mask(f"pool:{tmp_path}", 32, 32, 0)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="expected a folder of mask images, but there is none"):
        make_mask(f"files:{tmp_path / 'bad.png'}", 32, 32, 0)
    with pytest.raises(BrokenImageError, match=r"mask bad\.png: not a JPEG"):
        make_mask(f"files:{tmp_path}", 32, 32, 0, "bad")
