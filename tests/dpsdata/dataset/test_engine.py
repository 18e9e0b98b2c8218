"""A build: the chain, its determinism, what is reused, and what stops it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpsdata import BuildConfig, EditDataset, build_dataset
from dpsdata.contracts import FindingsError, MissingError, UsageError
from dpsdata.dataset import build as engine
from dpsdata.dataset.manifest import read_dataset, read_manifest
from dpsdata.dataset.verify import verify_dataset
from dpsdata.images.codec import read_edges, read_mask, read_photo, read_sketch
from dpsdata.masks import make_mask
from dpsdata.sketch import SimplifyConfig, simplify_edge_map


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time stamps of all files of a dataset, without the build's own state."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".build" not in path.parts]
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def test_chain_makes_every_file_and_they_belong_together(config: BuildConfig) -> None:
    result = build_dataset(config)
    rows = read_manifest(config.out)
    assert result.count == len(rows) == 6
    assert [row.id for row in rows] == ["astronaut", *[f"face_{number:04d}" for number in range(1, 6)]]
    for row in rows:
        name = f"{row.id}.png"
        edges = read_edges(config.out / "edges" / name)
        assert read_photo(config.out / "images" / name).shape == (64, 64, 3)
        assert edges.dtype == np.uint16
        sketch = read_sketch(config.out / "sketches" / name)
        np.testing.assert_array_equal(sketch, simplify_edge_map(edges, SimplifyConfig.for_size(64)))
        mask = read_mask(config.out / "masks" / "dps" / name)
        np.testing.assert_array_equal(mask, make_mask("dps", 64, 64, 0, row.id))
        assert (config.out / "levels" / "l0.5" / name).is_file()
        assert (row.width, row.height) == (256, 256)
    description = read_dataset(config.out)
    assert description["root_hash"] == result.root_hash
    assert sum(part["count"] for part in description["splits"].values()) == 6
    edges_stage = next(stage for stage in description["stages"] if stage["name"] == "edges")
    assert (edges_stage["precision"], edges_stage["engine"]) == ("fp32", "torch-cpu")
    assert verify_dataset(config.out).findings == ()


@pytest.mark.parametrize("form", ["files", "webdataset"])
def test_a_repeat_starts_no_worker_and_the_journal_stays_on_disk(
    config: BuildConfig, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, format=form, shard_size=4)
    first = build_dataset(config)
    monkeypatch.setattr(engine, "open_engine", lambda *_: pytest.fail("nothing is left to do"))
    again = build_dataset(config)
    assert (again.reused_count, again.root_hash) == (6, first.root_hash)
    monkeypatch.undo()
    name = "shards/train-000000.tar" if form == "webdataset" else "edges/astronaut.png"
    (config.out / name).unlink()
    mended = build_dataset(config)
    assert mended.root_hash == first.root_hash
    assert verify_dataset(config.out).findings == ()


def test_same_bytes_for_any_number_of_workers(config: BuildConfig, tmp_path: Path) -> None:
    results = [build_dataset(replace(config, out=tmp_path / f"w{count}", workers=count)) for count in (1, 2, 7)]
    assert len({result.root_hash for result in results}) == 1
    first, *others = ({path: data for path, (data, _) in tree(result.out).items()} for result in results)
    assert all(other == first for other in others)


def test_second_build_touches_nothing(config: BuildConfig) -> None:
    first = build_dataset(config)
    before = tree(config.out)
    second = build_dataset(config)
    after = tree(config.out)
    assert (second.root_hash, second.reused_count) == (first.root_hash, 6)
    assert {path: times for path, times in before.items() if "/" in path} == {
        path: times for path, times in after.items() if "/" in path
    }


def test_sketch_option_does_not_run_hed_again(config: BuildConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    build_dataset(config)
    before = tree(config.out)

    def refuse(*_: object) -> None:
        raise AssertionError("HED ran")

    from dpsdata.dataset import stages

    monkeypatch.setattr("dpsdata.hed.network.HED.detect", refuse)
    monkeypatch.setattr(
        stages.SimplifyConfig, "for_size", classmethod(lambda cls, size: replace(SimplifyConfig(), threshold=0.3))
    )
    result = build_dataset(replace(config, masks=("dps", "center")))
    after = tree(result.out)
    assert before["edges/astronaut.png"] == after["edges/astronaut.png"]
    assert before["images/astronaut.png"] == after["images/astronaut.png"]
    assert "masks/center/astronaut.png" in after
    # The family that is no longer asked for stays on disk, and is no finding.
    verified = verify_dataset(result.out, pair_count=0)
    assert verified.findings == ()
    assert verified.kept_count == 6


def test_changed_photo_is_built_again_and_touched_one_is_not(config: BuildConfig, tmp_path: Path) -> None:
    source = tmp_path / "faces"
    shutil.copytree(config.source, source)
    config = replace(config, source=source)
    first = build_dataset(config)
    before = tree(config.out)
    os.utime(source / "face_0001.png", (1, 1))
    shutil.copy(source / "face_0003.png", source / "face_0002.png")
    second = build_dataset(config)
    after = tree(config.out)
    assert second.root_hash != first.root_hash
    assert after["edges/face_0001.png"] == before["edges/face_0001.png"]
    assert after["edges/face_0002.png"][0] == after["edges/face_0003.png"][0]


def test_lost_file_is_made_again(config: BuildConfig) -> None:
    first = build_dataset(config)
    lost = config.out / "edges" / "face_0002.png"
    data = lost.read_bytes()
    lost.unlink()
    assert [finding.kind for finding in verify_dataset(config.out).findings] == ["missing"]
    assert build_dataset(config).root_hash == first.root_hash
    assert lost.read_bytes() == data


def test_verify_finds_flipped_missing_extra_and_swapped(config: BuildConfig) -> None:
    build_dataset(config)
    flipped = config.out / "masks" / "dps" / "astronaut.png"
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(bytes(data))
    (config.out / "sketches" / "face_0001.png").unlink()
    (config.out / "images" / "stranger.png").write_bytes(b"x")
    one, two = (config.out / "edges" / f"face_000{number}.png" for number in (2, 3))
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    found = {(finding.kind, finding.path) for finding in verify_dataset(config.out).findings}
    assert found == {
        ("flipped", "masks/dps/astronaut.png"),
        ("missing", "sketches/face_0001.png"),
        ("extra", "images/stranger.png"),
        ("flipped", "edges/face_0002.png"),
        ("flipped", "edges/face_0003.png"),
    }


def test_verify_finds_a_pair_whose_hashes_were_adapted(config: BuildConfig) -> None:
    """Somebody swapped two sketches and put the new hashes into the manifest: only computing again shows it."""
    build_dataset(config)
    folder = config.out / "sketches"
    one, two = folder / "face_0002.png", folder / "face_0003.png"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    rows = read_manifest(config.out)
    swapped = {"face_0002": rows[3].sketch_sha256, "face_0003": rows[2].sketch_sha256}
    rows = [replace(row, sketch_sha256=swapped.get(row.id, row.sketch_sha256)) for row in rows]
    description = read_dataset(config.out)
    rest = {key: value for key, value in description.items() if key not in ("schema_version", "root_hash", "count")}
    engine.write_dataset(config.out, rows, rest)
    assert {(finding.kind, finding.path) for finding in verify_dataset(config.out).findings} == {
        ("misaligned", "sketches/face_0002.png"),
        ("misaligned", "sketches/face_0003.png"),
    }


def test_broken_photo_is_quarantined_and_retried_on_request(config: BuildConfig, tmp_path: Path) -> None:
    source = tmp_path / "faces"
    shutil.copytree(config.source, source)
    good = (source / "face_0004.png").read_bytes()
    (source / "face_0004.png").write_bytes(good[: len(good) // 2])
    stamp = (source / "face_0004.png").stat()
    config = replace(config, source=source)
    result = build_dataset(config)
    assert result.count == 5
    assert [path for path, _ in result.errors] == ["face_0004.png"]
    assert "face_0004.png" in (config.out / "errors.csv").read_text()
    assert [row.status for row in read_manifest(config.out)].count("failed") == 1
    # Repaired, but with the size and time that it had: only --retry-failed looks again.
    (source / "face_0004.png").write_bytes(good[: len(good) // 2])
    os.utime(source / "face_0004.png", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert build_dataset(config).count == 5
    (source / "face_0004.png").write_bytes(good)
    result = build_dataset(replace(config, retry_failed=True))
    assert (result.count, result.errors) == (6, ())


def test_max_errors_stops_and_keeps_the_rest(config: BuildConfig, tmp_path: Path) -> None:
    source = tmp_path / "faces"
    shutil.copytree(config.source, source)
    for number in (2, 4):
        (source / f"face_000{number}.png").write_bytes(b"")
    with pytest.raises(FindingsError, match="max-errors 1"):
        build_dataset(replace(config, source=source, max_errors=1))
    assert (config.out / "edges" / "astronaut.png").is_file()
    assert build_dataset(replace(config, source=source, max_errors=2)).count == 4


def test_missing_source(config: BuildConfig, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder"):
        build_dataset(replace(config, source=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 32}, "64 to 1024"),
        ({"resampler": "cubic"}, "resampler"),
        ({"masks": ("holes",)}, "masks"),
        ({"levels": (1.5,)}, "level"),
        ({"split": "third"}, "split"),
        ({"precision": "fp8"}, "precision"),
        ({"border": "wrap"}, "border"),
        ({"workers": -1}, "workers"),
        ({"limit": 0}, "limit"),
    ],
)
def test_bad_options_are_named(config: BuildConfig, change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build_dataset(replace(config, **change))  # type: ignore[arg-type]
    assert not (config.out / "manifest.csv").exists()


def test_edit_dataset_reads_what_was_built(config: BuildConfig) -> None:
    build_dataset(config)
    data = EditDataset(config.out, split="train", masks="dps")
    assert len(data) == read_dataset(config.out)["splits"]["train"]["count"]
    item = data[0]
    assert item["photo"].shape == (3, 64, 64)
    assert -1 <= float(item["photo"].min()) < float(item["photo"].max()) <= 1
    assert set(item["sketch"].unique().tolist()) <= {0.0, 1.0}
    np.testing.assert_array_equal(item["mask"][0].numpy(), make_mask("dps", 64, 64, 0, item["id"]))
    other = EditDataset(config.out, split="train", masks="dps", draw=1)
    assert (other[0]["mask"] != item["mask"]).any()
    unbuilt = EditDataset(config.out, "all", masks="lama-thin")
    np.testing.assert_array_equal(unbuilt[0]["mask"][0].numpy(), make_mask("lama-thin", 64, 64, 0, unbuilt.ids[0]))
    with pytest.raises(UsageError, match="split"):
        EditDataset(config.out, split="holdout")


def test_dataset_json_is_the_same_on_every_run(config: BuildConfig, tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        build_dataset(replace(config, out=tmp_path / name))
        texts.append((tmp_path / name / "dataset.json").read_text())
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["schema_version"] == 1
