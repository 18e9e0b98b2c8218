"""Split lists as tools write them, and source folders with strays: the right splits and IDs, or a refusal."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpsdata.contracts import DpsError, UsageError
from dpsdata.dataset import BuildConfig, build_dataset
from dpsdata.dataset.manifest import read_dataset
from dpsdata.dataset.plausibility import SeenPhoto, find_implausible
from dpsdata.dataset.stages import SampleRecord
from dpsdata.images.arrays import hash_look, measure_colors
from dpsdata.sources.layouts import find_samples
from dpsdata.sources.splits import Splits, make_splits

ROWS = [(f"{number:06d}.jpg", "train" if number < 4 else "test") for number in range(6)]


def lines(form: str) -> str:
    return "".join(form.format(name=name, split=split) + "\n" for name, split in ROWS)


LISTS: dict[str, bytes] = {
    "lf": lines("{name} {split}").encode(),
    "cr": lines("{name} {split}").replace("\n", "\r").encode(),
    "bom": ("\ufeffimage,split\n" + lines("{name},{split}")).encode(),
    "utf16": lines("{name} {split}").encode("utf-16"),
    "utf16 without mark": lines("{name} {split}").encode("utf-16-le"),
    "latin1": b"# Liste f\xfcr K\xf6ln\n" + lines("{name} {split}").encode(),
    "quoted": ('"image","split"\n' + lines('"{name}","{split}"')).encode(),
    "single quotes": lines("'{name}' {split}").encode(),
    "semicolon": ("image;split\n" + lines("{name};{split}")).encode(),
    "tabs": ("file_name\tsubset\n" + lines("{name}\t{split}")).encode(),
    "three columns": ("image,split,age\n" + lines("{name},{split},30")).encode(),
    "index column": (",image,split\n" + "".join(f"{n},{a},{b}\n" for n, (a, b) in enumerate(ROWS))).encode(),
    "reversed": ("split,image\n" + lines("{split},{name}")).encode(),
    "reversed, no header": lines("{split},{name}").encode(),
    "trailing comma": lines("{name},{split},").encode(),
    "windows paths": lines("D:\\data\\faces\\{name} {split}").encode(),
    "upper": lines("{name} {split}").replace("jpg", "JPG").replace("train", "Train").encode(),
    "counted": ("6\n" + lines("{name} {split}")).encode(),
    "json": b'{"train": ["000000.jpg", "000001.jpg", "000002.jpg", "000003.jpg"], "test": ["000004", "000005.jpg"]}',
    "codes": "".join(f"{a} {0 if b == 'train' else 2}\n" for a, b in ROWS).encode(),
}
REFUSED: dict[str, tuple[str, str]] = {
    "codes from 1": ("".join(f"{a} {1 if b == 'train' else 2}\n" for a, b in ROWS), "count from 0"),
    "zeros lost": ("image,split\n" + "".join(f"{n},{b}\n" for n, (_, b) in enumerate(ROWS)), "dropped the zeros"),
    "two splits columns": ("".join(f"{a},{b},test\n" for a, b in ROWS), "none of the 6 listed names"),
    "identities": ("n1/000000.jpg test\nn2/000001.jpg train\n", "none of the 2 listed names"),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    for name, _ in ROWS:
        (folder / name).with_suffix(".png").write_bytes(name.encode())
    return folder


@pytest.mark.parametrize("form", LISTS)
def test_lists_that_tools_write(source: Path, tmp_path: Path, form: str) -> None:
    (tmp_path / "list").write_bytes(LISTS[form])
    listing = find_samples(source)
    splits = make_splits(listing.samples, f"file:{tmp_path / 'list'}", 0, listing.root)
    assert dict(splits.items()) == {"train": tuple(f"{n:06d}" for n in range(4)), "test": ("000004", "000005")}
    with pytest.raises(DpsError):  # the same file as a list of names alone would put all into one split
        make_splits(listing.samples, f"file:test={tmp_path / 'list'}", 0, listing.root)


@pytest.mark.parametrize("form", REFUSED)
def test_lists_that_can_be_meant_in_two_ways(source: Path, tmp_path: Path, form: str) -> None:
    text, message = REFUSED[form]
    (tmp_path / "list").write_text(text)
    listing = find_samples(source)
    with pytest.raises(DpsError, match=message):
        make_splits(listing.samples, f"file:{tmp_path / 'list'}", 0, listing.root)


@pytest.mark.parametrize("text", ["val/0.png\nval/1.png\n", "n000001/0.png\nn000002/1.png\n"])
@pytest.mark.parametrize("inner", ["", "train"])
def test_no_other_folder_is_taken_for_the_one_that_is_named(tmp_path: Path, text: str, inner: str) -> None:
    for number in range(4):
        path = tmp_path / "two" / "train" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(number).encode())
    (tmp_path / "list").write_text(text)
    listing = find_samples(tmp_path / "two" / inner)
    with pytest.raises(DpsError, match="no other folder"):
        make_splits(listing.samples, f"file:test={tmp_path / 'list'}", 0, listing.root)


def fill(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


@pytest.mark.parametrize(
    ("paths", "counts"),
    [
        (("train/female/1.jpg", "train/male/2.jpg", "val/male/3.jpg", "teaser.png"), {"train": 2, "val": 1}),
        (("train/1.jpg", "train/2.jpg", "val/3.jpg", "test/4.jpg", "figure.png"), {"train": 2, "val": 1, "test": 1}),
        (("faces/train/1.jpg", "faces/test/2.jpg", "faces/docs/x.jpg"), {"train": 1, "test": 1}),
    ],
)
def test_a_stray_picture_undoes_no_split(tmp_path: Path, paths: tuple[str, ...], counts: dict[str, int]) -> None:
    listing = find_samples(fill(tmp_path, *paths))
    assert make_splits(listing.samples, "auto", 0, listing.root).counts() == {**counts, "unlisted": 1}
    assert [(notice.kind, notice.count) for notice in listing.notices] == [("outside-of-splits", 1)]


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)


@pytest.mark.parametrize("folders", [("trainA", "testA"), ("train2017", "val2017"), ("Training_set", "test-hq")])
def test_folders_named_nearly_as_splits_are_not_dealt_anew_in_silence(tmp_path: Path, folders: tuple[str, str]) -> None:
    for folder in folders:
        for number in range(2):
            write(tmp_path / folder / f"{folder}{number}.png", number)
    listing = find_samples(tmp_path)
    with pytest.raises(UsageError, match="look like splits"):
        make_splits(listing.samples, "auto", 0, listing.root)
    assert sum(map(len, dict(make_splits(listing.samples, "ratio", 0, listing.root).items()).values())) == 4


def test_splits_inside_of_splits_are_refused_unless_one_folder_holds_all(tmp_path: Path) -> None:
    listing = find_samples(fill(tmp_path / "a", "test/train/1.jpg", "test/val/2.jpg", "test/test/3.jpg"))
    assert make_splits(listing.samples, "auto", 0, listing.root).counts() == {"train": 1, "val": 1, "test": 1}
    listing = find_samples(fill(tmp_path / "b", "train/1.jpg", "train/test/2.jpg", "val/3.jpg"))
    for rule in ("auto", "layout"):
        with pytest.raises(UsageError, match=r"train/test/2\.jpg is in folders of several splits \(train/test\)"):
            make_splits(listing.samples, rule, 0, listing.root)
    assert sum(make_splits(listing.samples, "ratio", 0, listing.root).counts().values()) == 3


def test_folders_that_only_begin_so_are_dealt(tmp_path: Path) -> None:
    for folder in ("trains", "testimonials", "valley"):
        write(tmp_path / folder / "0.png", 0)
    listing = find_samples(tmp_path)
    assert make_splits(listing.samples, "auto", 0, listing.root).rule.startswith("ratio")


def test_lists_that_are_not_read_are_said_and_thrown_away_photos_are_none(tmp_path: Path, tiny_hed: Path) -> None:
    for number in range(3):
        write(tmp_path / "in" / f"{number}.png", number)
    for folder in ("@eaDir", "$RECYCLE.BIN", "#recycle"):
        write(tmp_path / "in" / folder / "9.png", 9)
    for name in ("list_eval_partition.txt", "test.txt", "train-list.csv", "readme.txt", "attributes.csv"):
        (tmp_path / "in" / name).write_text("0.png 0\n")
    listing = find_samples(tmp_path / "in")
    assert [sample.id for sample in listing.samples] == ["0", "1", "2"]
    assert listing.lists == ("list_eval_partition.txt", "test.txt", "train-list.csv")
    source, out = tmp_path / "in", tmp_path / "out"
    build_dataset(BuildConfig(source=source, out=out, size=64, masks=("center",), edges=str(tiny_hed), workers=1))
    found = {item["kind"]: item["count"] for item in read_dataset(out)["warnings"]}
    assert found["unread-lists"] == 3


def test_one_picture_hides_no_zips(tmp_path: Path) -> None:
    fill(tmp_path, "preview.jpg")
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.jpg", str(number))
    with pytest.raises(UsageError, match="1 loose images and 1 zips with 3 others"):
        find_samples(tmp_path)
    fill(tmp_path, "0.jpg", "1.jpg", "2.jpg")  # unpacked beside its zip, nothing is left to say
    listing = find_samples(tmp_path)
    assert (len(listing.samples), listing.notices, listing.others) == (4, (), {".zip": 1})


def test_nothing_in_a_source_vanishes(tmp_path: Path) -> None:
    fill(
        tmp_path, "a.jpg", "b.jfif", "c.jpe", "d.avif", "e.heic", "f.jp2", "notes.txt", ".x.png", "Thumbs.db", "._a.jpg"
    )
    (tmp_path / "g").write_bytes(b"\xff\xd8\xff\xe0 a photo")
    (tmp_path / "h.jpg~").write_bytes(b"\xff\xd8\xff\xe0 a backup")
    listing = find_samples(tmp_path)
    assert [sample.id for sample in listing.samples] == list("abcdeg")
    assert [path for path, _ in listing.skipped] == ["f.jp2", "h.jpg~"]
    assert listing.others == {".txt": 1, "hidden": 1}


def test_ids_that_differ_in_case_alone_are_told_apart(tmp_path: Path) -> None:
    fill(tmp_path, "A/x.jpg", "a/X.jpg", "b.jpg")
    ids = [sample.id for sample in find_samples(tmp_path).samples]
    assert len({name.lower() for name in ids}) == 3
    assert "b" in ids


def test_names_in_zips_without_the_flag_of_utf_8(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("Zoé.jpg", b"x")
    data = bytearray((tmp_path / "z.zip").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(mark) + offset + 1
        data[place] &= ~0x08
    (tmp_path / "z.zip").write_bytes(bytes(data))
    assert [sample.id for sample in find_samples(tmp_path / "z.zip").samples] == ["Zoé"]


def record(name: str, image: np.ndarray) -> SampleRecord:
    colors, share = measure_colors(image)
    facts = {"photo_colors": colors, "photo_one_color": share}
    height, width = image.shape[:2]
    return SampleRecord(name, f"{name}.png", "", name, width, height, sample_stats=facts, look=hash_look(image))


def test_what_looks_wrong_is_counted_with_examples() -> None:
    rows, columns = np.mgrid[0:128, 0:128]
    noise = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    photos = [np.kron(grid, np.ones((16, 16, 1), np.uint8)) for grid in noise]
    photos = [
        np.clip(photo.astype(int) + ((rows + columns) % 7)[..., None], 0, 255).astype(np.uint8) for photo in photos
    ]
    copy = np.clip(photos[0].astype(int) + 3, 0, 255).astype(np.uint8)
    mask = np.where((rows > 40)[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    records = [record("a", photos[0]), record("b", photos[1]), record("copy", copy), record("0_mask", mask),
               record("pair", np.concatenate([photos[0], photos[1]], 1)), record("dot", photos[0][:1, :1])]  # fmt: skip
    parts = {"train": ("a", "b", "0_mask", "pair", "dot"), "test": ("copy",)}
    found = {notice.kind: notice for notice in find_implausible(list(map(SeenPhoto.of, records)), Splits("x", parts))}
    assert found["tiny"].examples == ("dot.png",)
    assert found["pairs"].examples == ("pair.png",)
    assert found["names"].examples == ("0_mask.png",)
    assert found["not-photos"].examples == ("0_mask.png", "dot.png")
    assert found["near-copies"].examples == ("a.png (train) and copy.png (test)",)


def test_copies_are_those_that_a_look_at_all_pairs_finds() -> None:
    generator = np.random.default_rng(1)
    base = generator.integers(0, 256, (40, 32), dtype=np.uint8)
    bits = np.unpackbits(base.repeat(8, axis=0), axis=1)
    for row in bits:  # up to 40 of its bits are others
        row[generator.choice(256, generator.integers(0, 41), replace=False)] ^= 1
    looks = np.packbits(bits, axis=1)
    photos = [SeenPhoto(f"{i}", f"{i}.png", "", 99, 99, look.tobytes(), False) for i, look in enumerate(looks)]
    parts = {"train": tuple(f"{i}" for i in range(0, 320, 2)), "test": tuple(f"{i}" for i in range(1, 320, 2))}
    near = [
        f"{i}.png (train) and {j}.png (test)"
        for i in range(0, 320, 2)
        for j in range(1, 320, 2)
        if (bits[i] != bits[j]).sum() <= 16
    ]
    (notice,) = find_implausible(photos, Splits("x", parts))
    assert (notice.kind, notice.count, notice.examples) == ("near-copies", len(near), tuple(near[:5]))
