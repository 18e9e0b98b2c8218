"""Datasets of shards: the same dataset as one of single files, and what damage to them does."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dpsdata import BuildConfig, EditDataset, EditIterableDataset, build_dataset
from dpsdata.contracts import MissingError, UsageError
from dpsdata.dataset.journal import state_folder
from dpsdata.dataset.manifest import read_dataset
from dpsdata.dataset.preview import write_preview
from dpsdata.dataset.shards import (
    ShardFiles,
    check_shards,
    escape_id,
    list_members,
    member_name,
    split_member,
    unescape_id,
)
from dpsdata.dataset.statistics import sample_statistics
from dpsdata.dataset.verify import verify_dataset


@pytest.fixture
def sharded(config: BuildConfig, tmp_path: Path) -> BuildConfig:
    return replace(config, out=tmp_path / "sharded", format="webdataset", shard_size=2)


def tars(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "shards").glob("*"))}


def kinds(out: Path) -> list[tuple[str, str]]:
    return [(finding.kind, finding.path) for finding in verify_dataset(out).findings]


@pytest.mark.parametrize("name", ["a", "a.b", "a%2Eb", "%25.", "ü.é", "..", "a%b.c%2e"])
def test_ids_with_dots_come_back(name: str) -> None:
    assert "." not in escape_id(name)
    assert unescape_id(escape_id(name)) == name
    for path in (f"images/{name}.png", f"masks/files-a.b/{name}.png", f"levels/l0.25/{name}.png"):
        assert split_member(member_name(path)) == (name, path)
    assert split_member(f"{escape_id(name)}.json") == (name, None)


def test_one_dataset_in_two_forms(config: BuildConfig, sharded: BuildConfig) -> None:
    files, shards = build_dataset(config), build_dataset(sharded)
    assert shards.root_hash == files.root_hash
    assert verify_dataset(sharded.out).findings == ()
    assert verify_dataset(sharded.out).file_count == verify_dataset(config.out).file_count
    for name in ("manifest.csv", "errors.csv"):
        assert (sharded.out / name).read_bytes() == (config.out / name).read_bytes()
    for path in (sharded.out / "shards").iterdir():
        with tarfile.open(path) as archive:
            entries = archive.getmembers()
        assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)
        assert {(entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {
            (0, 0, 0, "", "")
        }
        for part in list_members(path):
            name = split_member(part.name)[1]
            if name is not None:
                assert part.read_bytes() == (config.out / name).read_bytes()
    one, two = EditDataset(config.out, "all"), EditDataset(sharded.out, "all")
    assert one.ids == two.ids
    for left, right in zip(one, two, strict=True):  # type: ignore[call-overload]
        assert all(torch.equal(left[key], right[key]) for key in ("photo", "sketch", "mask"))
    assert sample_statistics(config.out).equals(sample_statistics(sharded.out))
    assert b"astronaut" in write_preview(sharded.out, 6).read_bytes()
    name = EditDataset(sharded.out, "train").ids[0]
    with tarfile.open(sharded.out / "shards" / "train-000000.tar") as archive:
        told = json.load(archive.extractfile(f"{name}.json"))  # type: ignore[arg-type]
    assert (told["id"], told["split"], told["width"]) == (name, "train", 256)
    assert {"line_density", "hole_dps", "hole_deepfillv2", "sha256", "source_sha256"} <= told.keys()


def test_same_shards_for_any_number_of_workers(sharded: BuildConfig, tmp_path: Path) -> None:
    build_dataset(sharded)
    build_dataset(replace(sharded, out=tmp_path / "two", workers=2))
    assert tars(tmp_path / "two") == tars(sharded.out)
    for name in ("dataset.json", "shards.csv"):
        assert (tmp_path / "two" / name).read_bytes() == (sharded.out / name).read_bytes()


def test_second_build_touches_no_shard(sharded: BuildConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    build_dataset(sharded)
    before = {path: path.stat().st_mtime_ns for path in (sharded.out / "shards").iterdir()}
    monkeypatch.setattr("dpsdata.hed.network.HED.detect", lambda *_: pytest.fail("HED ran"))
    assert build_dataset(sharded).reused_count == 6
    assert {path: path.stat().st_mtime_ns for path in (sharded.out / "shards").iterdir()} == before


def test_new_masks_and_other_shards_do_not_run_hed(
    config: BuildConfig, sharded: BuildConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_dataset(sharded)
    fresh = {}
    for number, change in enumerate(({"masks": ("dps", "center")}, {"shard_size": 3}, {"levels": (), "limit": 5})):
        fresh[number] = replace(sharded, out=tmp_path / f"fresh{number}", **change)  # type: ignore[arg-type]
        build_dataset(fresh[number])
    monkeypatch.setattr("dpsdata.hed.network.HED.detect", lambda *_: pytest.fail("HED ran"))
    for other in fresh.values():
        result = build_dataset(replace(other, out=sharded.out))
        assert result.root_hash == read_dataset(other.out)["root_hash"]
        assert tars(sharded.out) == tars(other.out)
        assert verify_dataset(sharded.out).findings == ()
    assert not list((state_folder(sharded.out) / "earlier").glob("*"))


def truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    place = data.index(b"IDAT") + 40
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def add_member(name: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            entry = tarfile.TarInfo(name)
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"bad"))
        return stream.getvalue()[:1024] + data

    return change


@pytest.mark.parametrize(
    ("damage", "kind", "told"),
    [
        (truncate, "truncated", "bytes, but"),
        (flip, "flipped", "SHA-256"),
        (lambda data: b"", "truncated", "0 bytes"),
        (add_member("../../evil.png"), "flipped", r"'../../evil.png' leads elsewhere"),
        (add_member("/tmp/evil.png"), "flipped", "leads elsewhere"),
    ],
    ids=["truncated", "flipped", "empty", "parent", "absolute"],
)
def test_damage_is_found_refused_and_mended(
    sharded: BuildConfig, damage: Callable[[bytes], bytes], kind: str, told: str
) -> None:
    build_dataset(sharded)
    good = tars(sharded.out)
    path = sharded.out / "shards" / "train-000000.tar"
    path.write_bytes(damage(good[path.name]))
    (finding,) = verify_dataset(sharded.out).findings
    assert (finding.kind, finding.path) == (kind, "shards/train-000000.tar")
    assert "evil" in finding.reason or told in finding.reason
    with pytest.raises(MissingError, match=r"train-000000\.tar"):
        check_shards(sharded.out, read_dataset(sharded.out))
    result = build_dataset(sharded)
    assert result.count == 6
    assert tars(sharded.out) == good
    assert verify_dataset(sharded.out).findings == ()


def test_shard_of_another_build(sharded: BuildConfig, tmp_path: Path) -> None:
    build_dataset(sharded)
    good = tars(sharded.out)
    other = replace(sharded, out=tmp_path / "other", seed=1)
    build_dataset(other)
    shutil.copy(other.out / "shards" / "val-000000.tar", sharded.out / "shards" / "train-000001.tar")
    assert ("foreign", "shards/train-000001.tar") in kinds(sharded.out) or (
        "truncated",
        "shards/train-000001.tar",
    ) in kinds(sharded.out)
    with pytest.raises(MissingError, match=r"of another build|were built"):
        check_shards(sharded.out, read_dataset(sharded.out))
    (sharded.out / "shards" / "stranger-000000.tar").write_bytes(b"x")
    shutil.copy(other.out / "shards.csv", sharded.out)
    assert {kind for kind, _ in kinds(sharded.out)} >= {"manifest", "extra"}
    with pytest.raises(MissingError, match=r"shards\.csv: not the list"):
        EditDataset(sharded.out, "all")
    (sharded.out / "shards" / "stranger-000000.tar").unlink()
    build_dataset(sharded)
    assert tars(sharded.out) == good
    assert kinds(sharded.out) == []


def test_member_that_leads_elsewhere_is_refused_when_read(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    for name in ("../x.photo.png", "/etc/x.photo.png", "a/b.photo.png"):
        path.write_bytes(add_member(name)(b""))
        with pytest.raises(MissingError, match="leads elsewhere"):
            list(list_members(path))
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("x.photo.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(MissingError, match="not a plain file"):
        list(list_members(path))


def test_one_folder_holds_one_form(config: BuildConfig, sharded: BuildConfig) -> None:
    build_dataset(config)
    with pytest.raises(UsageError, match="dataset of --format files"):
        build_dataset(replace(sharded, out=config.out))
    build_dataset(sharded)
    with pytest.raises(UsageError, match="dataset of --format webdataset"):
        build_dataset(replace(config, out=sharded.out))


@pytest.mark.parametrize(("change", "told"), [({"format": "zip"}, "files or webdataset"), ({"shard_size": 0}, "shard")])
def test_options_of_shards(config: BuildConfig, change: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        replace(config, **change)  # type: ignore[arg-type]


def test_broken_photos_leave_a_gap_and_no_empty_shard(sharded: BuildConfig, tmp_path: Path) -> None:
    source = tmp_path / "faces"
    shutil.copytree(sharded.source, source)
    sharded = replace(sharded, source=source, split="last-1", levels=())
    good = {name: (source / name).read_bytes() for name in ("astronaut.png", "face_0005.png")}
    for name in good:
        (source / name).write_bytes(b"no image")
    result = build_dataset(sharded)
    assert result.count == 4
    assert sorted(tars(sharded.out)) == ["train-000000.tar", "train-000001.tar", "train-000002.tar"]
    assert len(EditDataset(sharded.out, "all")) == 4
    assert kinds(sharded.out) == []
    assert build_dataset(sharded).count == 4
    for name, data in good.items():
        (source / name).write_bytes(data)
    assert build_dataset(sharded).count == 6
    assert sorted(tars(sharded.out))[0] == "test-000000.tar"
    assert kinds(sharded.out) == []


def test_kills_lose_no_shard(sharded: BuildConfig, tmp_path: Path) -> None:
    whole = build_dataset(sharded)
    out = tmp_path / "killed"
    command = [sys.executable, "-c", "from dpsdata.cli import main; main()", "build", str(sharded.source), str(out)]
    command += ["--size", "64", "--edges", sharded.edges, "--workers", "1", "--levels", "0,0.5"]
    command += ["--format", "webdataset", "--shard-size", "2"]
    for seen in (2,):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(out.glob("shards/*.tar"))) < seen and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in out.glob("shards/*.tar"):
            assert path.read_bytes() == (sharded.out / "shards" / path.name).read_bytes()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tars(out) == tars(sharded.out)
    assert read_dataset(out)["root_hash"] == whole.root_hash


def test_damaged_state_of_shards_costs_work_and_nothing_else(sharded: BuildConfig) -> None:
    first = build_dataset(sharded)
    good = tars(sharded.out)
    state = state_folder(sharded.out) / "shards.jsonl"
    for text in ("", "[1]\nnull\n{}\n", "[" * 100_000, state.read_text()[:-40]):
        state.write_text(text)
        assert build_dataset(sharded).root_hash == first.root_hash
        assert tars(sharded.out) == good
    shutil.rmtree(state_folder(sharded.out))
    assert build_dataset(sharded).root_hash == first.root_hash


def test_stream_gives_every_sample_once_and_the_same_order_again(sharded: BuildConfig) -> None:
    pytest.importorskip("webdataset")
    build_dataset(sharded)
    by_id = {sample["id"]: sample for sample in EditDataset(sharded.out, "all")}  # type: ignore[attr-defined]
    stream = EditIterableDataset(sharded.out, "all", shuffle=3)
    first = list(stream)
    assert len(first) == len(stream) == 6
    for sample in first:
        assert all(torch.equal(sample[key], by_id[sample["id"]][key]) for key in ("photo", "sketch", "mask"))
    orders = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        orders.append([sample["id"] for sample in stream])
    assert orders[0] == orders[2] == [sample["id"] for sample in first]
    assert orders[1] != orders[0]
    assert sorted(orders[1]) == sorted(orders[0])
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    assert sorted(sample["id"] for sample in loader) == sorted(by_id)
    drawn = next(iter(EditIterableDataset(sharded.out, "all", shuffle=0, draw=1)))
    again = EditDataset(sharded.out, "all", draw=1)
    np.testing.assert_array_equal(drawn["mask"], again[again.ids.index(drawn["id"])]["mask"])


def test_stream_needs_shards(config: BuildConfig) -> None:
    pytest.importorskip("webdataset")
    build_dataset(config)
    with pytest.raises(UsageError, match="--to webdataset"):
        EditIterableDataset(config.out)


def test_listing_goes_to_workers(sharded: BuildConfig) -> None:
    import pickle

    build_dataset(sharded)
    dataset = pickle.loads(pickle.dumps(EditDataset(sharded.out, "all")))
    assert isinstance(dataset.files, ShardFiles)
    assert dataset[0]["photo"].shape == (3, 64, 64)
