"""What a build does about damaged or missing state of its own, and about options that clash."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpsdata import BuildConfig, EditDataset, build_dataset
from dpsdata.cli import app
from dpsdata.contracts import FindingsError, MissingError, UsageError
from dpsdata.dataset.journal import UNFINISHED, state_folder
from dpsdata.dataset.verify import verify_dataset
from dpsdata.runtime.command_line import run_app


@pytest.fixture
def config(faces: Path, tiny_hed: Path, tmp_path: Path) -> BuildConfig:
    source = tmp_path / "faces"
    source.mkdir()
    for name in ("astronaut.png", "face_0001.png"):
        shutil.copy(faces / name, source)
    return BuildConfig(
        source=source, out=tmp_path / "built", size=64, edges=str(tiny_hed), workers=1, masks=("dps",), split="last-1"
    )


def _changed(field: str, value: object) -> Callable[[bytes], bytes]:
    def change(journal: bytes) -> bytes:
        first, rest = journal.split(b"\n", 1)
        return json.dumps({**json.loads(first), field: value}).encode() + b"\n" + rest

    return change


@pytest.mark.parametrize(
    "damage",
    [
        lambda journal: b"\xfe\xff\x00\n" + journal,
        lambda journal: b'123\n[1]\n"x"\nnull\n' + journal,
        lambda journal: b"[" * 100_000 + b"\n" + journal,
        lambda journal: journal[: len(journal) // 2],
        _changed("files", []),
        _changed("files", {}),
        _changed("files", {"images/astronaut.png": [1]}),
        _changed("sample_stats", {}),
        _changed("keys", None),
        _changed("id", [5]),
        _changed("error", 3),
        _changed("width", "wide"),
    ],
)
def test_damaged_journal_costs_work_and_nothing_else(config: BuildConfig, damage: Callable[[bytes], bytes]) -> None:
    first = build_dataset(config)
    journal = state_folder(config.out) / "journal.jsonl"
    journal.write_bytes(damage(journal.read_bytes()))
    assert verify_dataset(config.out).findings == ()
    again = build_dataset(config)
    assert (again.count, again.root_hash) == (2, first.root_hash)
    assert verify_dataset(config.out).findings == ()
    assert build_dataset(config).reused_count == 2


def test_copy_without_hidden_state_can_be_built_again(config: BuildConfig) -> None:
    first = build_dataset(config)
    shutil.rmtree(state_folder(config.out))
    assert build_dataset(config).root_hash == first.root_hash


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"root_hash": 5}, "root_hash"),
        ({"size": "x"}, "size"),
        ({"config": 3}, "seed"),
        ({"config": {}}, "seed"),
        ({"stages": None}, "stages"),
    ],
)
def test_damaged_description_is_told(config: BuildConfig, change: dict[str, Any], told: str) -> None:
    build_dataset(config)
    path = config.out / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(MissingError, match=rf"dataset\.json: {told} is missing or damaged; run `dpsdata build`"):
        verify_dataset(config.out)
    with pytest.raises(MissingError, match=told):
        EditDataset(config.out, "all")


def test_deeply_nested_description_is_told(config: BuildConfig) -> None:
    build_dataset(config)
    (config.out / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(MissingError, match="cannot be read"):
        verify_dataset(config.out)


def test_failures_of_an_earlier_build_count_before_any_work(config: BuildConfig) -> None:
    for name in ("bad1.jpg", "bad2.jpg"):
        (config.source / name).write_bytes(b"no image")
    first = build_dataset(config)
    with pytest.raises(FindingsError, match="2 photos were broken in an earlier build, more than --max-errors 1"):
        build_dataset(replace(config, max_errors=1))
    assert not (state_folder(config.out) / UNFINISHED).exists()
    assert build_dataset(replace(config, max_errors=2)).root_hash == first.root_hash
    with pytest.raises(FindingsError, match=r"bad1\.jpg: .*\. This is broken photo number 1, more than"):
        build_dataset(replace(config, max_errors=0, retry_failed=True))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": 64.0}, "size: expected a whole number, got 64.0"),
        ({"size": "64"}, "size: expected a whole number"),
        ({"size": None}, "size: expected a whole number"),
        ({"limit": 2.5}, "limit: expected a whole number"),
        ({"max_errors": "1"}, "max-errors: expected a whole number"),
        ({"seed": 1.5}, "seed: expected a whole number"),
        ({"masks": "dps"}, "masks: expected a tuple, got 'dps'"),
        ({"levels": 0.5}, "levels: expected a tuple, got 0.5"),
        ({"split": None}, "split: expected the name of a rule"),
        ({"levels": (0.1234567, 0.12345671)}, "levels: .* both belong in the folder l0.123457"),
        ({"masks": ("file:a/m",)}, "masks: expected one of .*, files:DIR or pool:DIR, got 'file:a/m'"),
    ],
)
def test_options_of_a_wrong_kind_or_that_clash(config: BuildConfig, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        replace(config, **options)


def test_a_built_folder_is_no_source(config: BuildConfig, tmp_path: Path) -> None:
    build_dataset(config)
    with pytest.raises(UsageError, match=r"a folder that `dpsdata build` made; give .*images"):
        build_dataset(replace(config, source=config.out, out=tmp_path / "second"))
    assert build_dataset(replace(config, source=config.out / "images", out=tmp_path / "third")).count == 2


def test_an_unfinished_build_inside_the_source_is_passed_over(config: BuildConfig, tmp_path: Path) -> None:
    inside = config.source / "unfinished"
    build_dataset(replace(config, out=inside))
    for name in ("dataset.json", "manifest.csv"):
        (inside / name).unlink()
    result = build_dataset(replace(config, out=tmp_path / "second"))
    assert result.count == 2
    assert result.errors == (("unfinished", "a folder that `dpsdata build` made, not photos"),)


def test_link_to_nowhere_is_no_target(config: BuildConfig, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="a link to a folder that does not exist"):
        build_dataset(replace(config, out=tmp_path / "link"))


def test_verify_refuses_what_it_cannot_do(config: BuildConfig) -> None:
    build_dataset(config)
    with pytest.raises(UsageError, match="pairs: expected 0 or more"):
        verify_dataset(config.out, -1)
    with pytest.raises(MissingError, match="no built dataset here"):
        verify_dataset(config.source / "astronaut.png")


def test_dry_run_tells_bytes_of_a_small_set_too(config: BuildConfig, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["build", str(config.source), str(config.out), "--size", "64", "--edges", config.edges, "--workers", "1"]
    assert run_app(app, [*words, "--dry-run"]) == 0
    told = re.search(r"([0-9.]+) MB", capsys.readouterr().out)
    assert told is not None
    assert run_app(app, words) == 0
    made = sum(path.stat().st_size for path in config.out.rglob("*.png"))
    assert float(told[1]) * 1e6 == pytest.approx(made, rel=0.1)
