"""Exports: what the field's libraries load from them, offline, is what `EditDataset` gives."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpsdata import BuildConfig, EditDataset, build_dataset
from dpsdata.contracts import MissingError, UsageError
from dpsdata.dataset.export import export_dataset
from dpsdata.dataset.manifest import read_dataset
from dpsdata.dataset.shards import unescape_id
from dpsdata.dataset.verify import verify_dataset
from dpsdata.images.codec import read_mask, read_photo, read_sketch

# Runs in a process of its own, since `datasets` reads its switches when it is imported; no socket can be opened there.
LOAD = """
import socket, sys
def refuse(*_, **__): raise OSError("no network here")
socket.socket.connect = socket.getaddrinfo = refuse
import datasets, numpy as np
loaded = datasets.load_dataset(sys.argv[1])
pixels = {}
for split, rows in loaded.items():
    for row in rows:
        name = split + "/" + row["id"]
        pictures = [key for key in row if key in ("image", "edges", "sketch") or key.startswith("mask")]
        pixels |= {f"{name}/{key}": np.asarray(row[key]) for key in pictures}
np.savez(sys.argv[2], **pixels)
print(sorted(loaded[next(iter(loaded))].features))
"""


@pytest.fixture
def built(config: BuildConfig) -> Path:
    build_dataset(replace(config, masks=("dps", "center")))
    return config.out


@pytest.mark.parametrize("form", ["parquet", "imagefolder"])
def test_datasets_loads_it_offline(built: Path, tmp_path: Path, form: str) -> None:
    pytest.importorskip("datasets")
    out = tmp_path / form
    result = export_dataset(built, out, form, shard_size=3)
    assert result.count == 6
    environment = os.environ | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(out), str(tmp_path / "pixels.npz")],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("edges", "image", "level_l0.5", "mask_center", "mask_dps", "sketch", "source_sha256", "width"):
        assert name in done.stdout
    found = np.load(tmp_path / "pixels.npz")
    for split in read_dataset(built)["splits"]:
        dataset = EditDataset(built, split)
        for name in dataset.ids:
            sample = dataset[dataset.ids.index(name)]
            photo = (sample["photo"].permute(1, 2, 0).numpy() + 1) * 127.5
            np.testing.assert_array_equal(found[f"{split}/{name}/image"], photo.round())
            np.testing.assert_array_equal(found[f"{split}/{name}/sketch"] <= 127, sample["sketch"][0].numpy() == 1)
            np.testing.assert_array_equal(found[f"{split}/{name}/mask_dps"] > 127, sample["mask"][0].numpy() == 1)
            assert found[f"{split}/{name}/edges"].max() > 255


def test_webdataset_loads_shards(built: Path, tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    export_dataset(built, tmp_path / "out", "webdataset")
    dataset = EditDataset(tmp_path / "out", "all")
    paths = sorted(str(path) for path in (tmp_path / "out" / "shards").glob("*.tar"))
    seen = set()
    for sample in wds.WebDataset(paths, shardshuffle=False):
        name = unescape_id(sample["__key__"])
        wanted = dataset[dataset.ids.index(name)]
        photo = read_photo(sample["photo.png"])
        np.testing.assert_array_equal(photo, ((wanted["photo"].permute(1, 2, 0).numpy() + 1) * 127.5).round())
        np.testing.assert_array_equal(read_sketch(sample["sketch.png"]), wanted["sketch"][0])
        np.testing.assert_array_equal(read_mask(sample["mask.dps.png"]), wanted["mask"][0])
        seen.add(name)
    assert seen == set(dataset.ids)


def test_export_of_files_is_the_build_of_shards(config: BuildConfig, tmp_path: Path) -> None:
    build_dataset(config)
    sharded = replace(config, out=tmp_path / "sharded", format="webdataset", shard_size=2)
    build_dataset(sharded)
    for number, source in enumerate((config.out, sharded.out)):
        out = tmp_path / f"export{number}"
        export_dataset(source, out, "webdataset", shard_size=2)
        for path in sorted((sharded.out / "shards").iterdir()):
            assert (out / "shards" / path.name).read_bytes() == path.read_bytes()
        for name in ("dataset.json", "manifest.csv", "shards.csv", "errors.csv"):
            assert (out / name).read_bytes() == (sharded.out / name).read_bytes()
        assert [finding.path for finding in verify_dataset(out).findings] == []


def test_card_tells_what_it_is(built: Path, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    for form in ("parquet", "imagefolder", "webdataset"):
        export_dataset(built, tmp_path / form, form)
        card = (tmp_path / form / "README.md").read_text()
        head = yaml.safe_load(card.split("---\n")[1])
        assert head["license"] == "other"
        assert {item["split"] for item in head["configs"][0]["data_files"]} == set(read_dataset(built)["splits"])
        for item in head["configs"][0]["data_files"]:
            assert list((tmp_path / form).glob(item["path"]))
        assert read_dataset(built)["root_hash"] in card
        assert "may not be redistributed" in card


@pytest.mark.parametrize("form", ["parquet", "imagefolder", "webdataset"])
def test_interrupted_export_goes_on(built: Path, tmp_path: Path, form: str) -> None:
    export_dataset(built, tmp_path / "whole", form, shard_size=2)
    out = tmp_path / "out"
    export_dataset(built, out, form, shard_size=2)
    wanted = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    lost = sorted(path for path in out.rglob("*") if path.suffix in (".png", ".tar", ".parquet"))[0]
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".png", ".tar", ".parquet")}
    lost.unlink()
    (out / "README.md").unlink()
    export_dataset(built, out, form, shard_size=2)
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()} == wanted
    rest = [path for path in kept if path.name != lost.name]
    assert all(path.stat().st_mtime_ns == kept[path] for path in rest)


def test_what_an_export_refuses(built: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="webdataset, parquet, imagefolder"):
        export_dataset(built, tmp_path / "out", "csv")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="files that no export made"):
        export_dataset(built, tmp_path / "full", "parquet")
    export_dataset(built, tmp_path / "out", "imagefolder")
    with pytest.raises(UsageError, match="holds another export"):
        export_dataset(built, tmp_path / "out", "parquet")
    path = built / "edges" / "astronaut.png"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(MissingError, match=r"edges/astronaut\.png has changed since it was built; run `dpsdata verify"):
        export_dataset(built, tmp_path / "third", "webdataset")
    path.unlink()
    with pytest.raises(MissingError, match=r"edges/astronaut\.png cannot be read"):
        export_dataset(built, tmp_path / "fourth", "imagefolder")
