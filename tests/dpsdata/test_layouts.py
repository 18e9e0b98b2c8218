from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpsdata.contracts import MissingError, UsageError
from dpsdata.sources.layouts import SourceListing, find_samples, natural_key, read_sample
from dpsdata.sources.splits import make_splits


def _fill(root: Path, *paths: str) -> Path:
    """Files whose content is their own path."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def _zip(file: Path, *paths: str) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.writestr(path, path.encode())
    return file


def _ids(listing: SourceListing) -> list[str]:
    return [sample.id for sample in listing.samples]


def _paths(listing: SourceListing) -> list[str]:
    return [sample.relative_path for sample in listing.samples]


# Layouts: (name, files, expected relative paths). Each is tried as a folder and as a zip.
LAYOUTS = [
    (
        "celebamask-hq",
        ["CelebA-HQ-img/10.jpg", "CelebA-HQ-img/2.jpg", "CelebA-HQ-img/0.jpg", "CelebA-HQ-to-CelebA-mapping.txt",
         "CelebAMask-HQ-mask-anno/0/00000_hair.png", "README/photo.jpg"],
        ["CelebA-HQ-img/0.jpg", "CelebA-HQ-img/2.jpg", "CelebA-HQ-img/10.jpg"],
    ),
    (
        "celebamask-hq",
        ["CelebAMask-HQ/CelebA-HQ-img/1.jpg", "CelebAMask-HQ/CelebAMask-HQ-mask-anno/0/00001_nose.png"],
        ["CelebAMask-HQ/CelebA-HQ-img/1.jpg"],
    ),
    ("data-pack", ["data1024x1024/00010.jpg", "data1024x1024/00002.jpg"],
     ["data1024x1024/00002.jpg", "data1024x1024/00010.jpg"]),
    ("data-pack", ["00001.jpg", "30000.jpg"], ["00001.jpg", "30000.jpg"]),
    ("folder", ["00000.jpg", "00001.jpg"], ["00000.jpg", "00001.jpg"]),
    ("stargan-v2", ["celeba_hq/val/male/7.jpg", "celeba_hq/train/female/12.jpg"],
     ["celeba_hq/train/female/12.jpg", "celeba_hq/val/male/7.jpg"]),
    ("flat-256", ["celeba_hq_256/b.jpg", "celeba_hq_256/a.jpg"], ["celeba_hq_256/a.jpg", "celeba_hq_256/b.jpg"]),
    ("folder", ["x/b.PNG", "a.webp", "x/y/c.tiff", "notes.txt"], ["a.webp", "x/b.PNG", "x/y/c.tiff"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "files", "expected"), LAYOUTS)
def test_layouts_in_folders_and_zips(tmp_path: Path, name: str, files: list[str], expected: list[str]) -> None:
    folder = find_samples(_fill(tmp_path / "source", *files))
    archive = find_samples(_zip(tmp_path / "source.zip", *files))
    for listing in (folder, archive):
        assert listing.layout == name
        assert _paths(listing) == expected
        assert listing.skipped == ()
        assert [read_sample(sample).decode() for sample in listing.samples] == expected
    assert _ids(folder) == _ids(archive) == [path.rpartition(".")[0].replace("/", "__") for path in expected]


def test_image_folder_of_celebamask_alone(tmp_path: Path) -> None:
    _fill(tmp_path, "CelebA-HQ-to-CelebA-mapping.txt", "CelebA-HQ-img/3.jpg")
    assert find_samples(tmp_path / "CelebA-HQ-img").layout == "celebamask-hq"


def test_split_hints(tmp_path: Path) -> None:
    stargan = find_samples(_fill(tmp_path / "s", "train/female/1.jpg", "val/male/2.jpg"))
    assert stargan.layout == "stargan-v2"
    assert [sample.split_hint for sample in stargan.samples] == ["train", "val"]
    plain = find_samples(_fill(tmp_path / "p", "test/1.jpg", "train/1.jpg", "valid/1.jpg"))
    assert [sample.split_hint for sample in plain.samples] == ["test", "train", "val"]
    mixed = find_samples(_fill(tmp_path / "m", "train/1.jpg", "more/1.jpg"))
    assert [sample.split_hint for sample in mixed.samples] == [None, "train"]
    with pytest.raises(UsageError, match=r"1 photos are in a folder named train, such as train/1\.jpg, and 1 outside"):
        make_splits(mixed.samples, "auto", 0, mixed.root)
    assert make_splits(mixed.samples, "layout", 0, mixed.root).counts() == {"train": 1, "unlisted": 1}


def test_folder_with_zips(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    _zip(tmp_path / "one" / "pack.zip", "00001.jpg")
    listing = find_samples(tmp_path / "one")
    assert (listing.layout, _ids(listing)) == ("data-pack", ["00001"])
    _zip(tmp_path / "one" / "more.zip", "00001.jpg")
    (tmp_path / "one" / "bad.zip").write_bytes(b"no zip")
    listing = find_samples(tmp_path / "one")
    assert _paths(listing) == ["more.zip/00001.jpg", "pack.zip/00001.jpg"]
    assert [path for path, _ in listing.skipped] == ["bad.zip"]


def test_natural_order() -> None:
    names = ["10.jpg", "9.jpg", "b/1.jpg", "a10/1.jpg", "a9/2.jpg", "a9/10.jpg", "1.jpg", "01.jpg"]
    assert sorted(names, key=natural_key) == [
        "01.jpg", "1.jpg", "9.jpg", "10.jpg", "a9/2.jpg", "a9/10.jpg", "a10/1.jpg", "b/1.jpg",
    ]  # fmt: skip


@given(st.lists(st.text("ab09/.é²٣ ", min_size=1, max_size=9), min_size=1, max_size=8))
def test_natural_key_orders_any_names(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_collisions_get_their_content(tmp_path: Path) -> None:
    _fill(tmp_path, "a/x.jpg", "a/x.png", "a/y.jpg")
    digests = {name: hashlib.sha256(name.encode()).hexdigest()[:8] for name in ("a/x.jpg", "a/x.png")}
    assert _ids(find_samples(tmp_path)) == [f"a__x-{digests['a/x.jpg']}", f"a__x-{digests['a/x.png']}", "a__y"]


def test_same_name_and_content_is_taken_once(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"same")
    (tmp_path / "x.png").write_bytes(b"same")
    (tmp_path / "x.bmp").write_bytes(b"")
    listing = find_samples(tmp_path)
    assert _paths(listing) == ["x.jpg"]
    assert _ids(listing) == ["x-" + hashlib.sha256(b"same").hexdigest()[:8]]
    assert listing.skipped == (
        ("x.bmp", "the file is empty (0 bytes)"),
        ("x.png", "the same name and the same content as x.jpg"),
    )


def test_unicode_names(tmp_path: Path) -> None:
    composed, decomposed = "Zoé.jpg", "Zoe\u0301.jpg"
    _fill(tmp_path, composed, "日本.png")
    assert _ids(find_samples(tmp_path)) == ["Zoé", "日本"]
    _fill(tmp_path, decomposed)
    ids = _ids(find_samples(tmp_path))
    assert len(set(ids)) == 3
    assert sum(name.startswith("Zoé-") for name in ids) == 2


def test_hostile_folder(tmp_path: Path) -> None:
    outside = _fill(tmp_path / "outside", "secret.jpg") / "secret.jpg"
    source = _fill(tmp_path / "source", "good.jpg", ".hidden.jpg", ".cache/x.jpg", "__MACOSX/y.jpg",
                   "folder.jpg/in.jpg", "line\nbreak.jpg", "n" * 240 + ".jpg")  # fmt: skip
    os.mkfifo(source / "pipe.jpg")
    (source / "dangling.jpg").symlink_to("nowhere.jpg")
    (source / "out.jpg").symlink_to(outside)
    (source / "loop.jpg").symlink_to("loop.jpg")
    (source / "dir.jpg").symlink_to(source / "folder.jpg")
    (source / "up").symlink_to(tmp_path)
    (source / "inside.jpg").symlink_to("good.jpg")
    listing = find_samples(source)
    assert _paths(listing) == ["good.jpg", "inside.jpg"]
    reasons = dict(listing.skipped)
    assert reasons.pop("n" * 240 + ".jpg").startswith("its path is too long")
    assert reasons.pop("line\\x0abreak.jpg").startswith("its name has a line break")
    assert reasons == {
        "dangling.jpg": "a link to a file that does not exist",
        "dir.jpg": "a link to a folder, not an image file",
        "folder.jpg": "a folder, not an image file",
        "loop.jpg": "a link that leads in a circle or cannot be followed",
        "out.jpg": "a link that leads out of the source; copy the file into it",
        "pipe.jpg": "not an ordinary file but a pipe, a socket or a device",
        "up": "a link to a folder; links to folders are not followed",
    }


def test_name_that_is_not_utf8(tmp_path: Path) -> None:
    _fill(tmp_path, "a.jpg")
    try:
        (tmp_path / os.fsdecode(b"bad\xff.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    listing = find_samples(tmp_path)
    assert _ids(listing) == ["a"]
    assert listing.skipped == (("bad\\udcff.jpg", "its name is not valid UTF-8; rename it"),)


def test_hostile_zip(tmp_path: Path) -> None:
    file = tmp_path / "source.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the duplicate
        for name in ("ok.jpg", "../up.jpg", "a/../../b.jpg", "/etc/abs.jpg", "C:\\x.jpg", "..\\back.jpg", "dir.jpg/",
                     "__MACOSX/._ok.jpg", "twice.jpg", ".hidden/z.jpg"):  # fmt: skip
            archive.writestr(name, name)
        archive.writestr("twice.jpg", "second")
        archive.writestr("bomb.jpg", bytes(20 * 2**20))
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    listing = find_samples(file)
    assert _paths(listing) == ["ok.jpg", "twice.jpg", "twice.jpg"]
    assert [read_sample(sample) for sample in listing.samples] == [b"ok.jpg", b"twice.jpg", b"second"]
    assert len(set(_ids(listing))) == 3
    reasons = dict(listing.skipped)
    assert set(reasons) == {"../up.jpg", "a/../../b.jpg", "/etc/abs.jpg", "C:/x.jpg", "../back.jpg", "dir.jpg/",
                            "bomb.jpg", "link.jpg"}  # fmt: skip
    assert "zip bomb" in reasons.pop("bomb.jpg")
    assert reasons.pop("link.jpg") == "a link inside a zip, not an image file"
    assert reasons.pop("dir.jpg/") == "a folder, not an image file"
    assert set(reasons.values()) == {"its path in the zip leads out of it"}


def _patch_flags(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= bit
    file.write_bytes(bytes(data))


def test_encrypted_zip(tmp_path: Path) -> None:
    file = _zip(tmp_path / "s.zip", "a.jpg")
    _patch_flags(file, 1)
    with pytest.raises(MissingError, match=r"a\.jpg: it is encrypted"):
        find_samples(file)


def test_out_folder_and_earlier_builds_are_left_out(tmp_path: Path) -> None:
    _fill(tmp_path, "a.jpg", "out/images/a.png", "old/dataset.json", "old/manifest.csv", "old/images/a.png")
    listing = find_samples(tmp_path, exclude=tmp_path / "out")
    assert _paths(listing) == ["a.jpg"]
    assert listing.skipped == (("old", "a folder that `dpsdata build` made, not photos"),)
    with pytest.raises(UsageError, match="the same"):
        find_samples(tmp_path, exclude=tmp_path / "old" / "..")


def test_sources_with_nothing_to_take(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder"):
        find_samples(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match="no image files"):
        find_samples(tmp_path / "empty")
    for number, suffix in enumerate([".parquet", ".tfrecord", ".h5", ".npy", ".mdb"]):
        folder = _fill(tmp_path / str(number), f"data{suffix}")
        with pytest.raises(MissingError, match=rf"holds \{suffix} files.*CelebAMask-HQ"):
            find_samples(folder)
        with pytest.raises(MissingError, match=rf"\{suffix} files are not read"):
            find_samples(folder / f"data{suffix}")
    with pytest.raises(UsageError, match="a single file"):
        find_samples(_fill(tmp_path / "f", "x.jpg") / "x.jpg")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(MissingError, match="not a readable zip"):
        find_samples(tmp_path / "broken.zip")
