"""The sketches of a built folder, perturbed, as a folder that `dps predict` and `dpseval` take as `--sketches`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.images.codec import read_sketch, write_sketch
from dpsdata.runtime.files import make_folder, write_text_atomic
from dpsdata.sketch.perturb import Perturbation, perturb_sketch

RECORD_FILE = "perturbation.json"
_EARLIER_RECORD_FILE = "disturbance.json"  # up to 0.3.0
_MAX_RECORD_BYTES = 100_000
_VERSION = 1  # of the ways in which sketches are perturbed; another one gives other bytes


class PerturbCounts(NamedTuple):
    """What `perturb_folder` did.

    Attributes:
        done_count: sketches written now.
        kept_count: sketches that were there.
        failures: id and reason of each sketch that could not be read.
    """

    done_count: int
    kept_count: int
    failures: tuple[tuple[str, str], ...]


def perturb_folder(built: Path, out: Path, perturbation: Perturbation, split: str = "all") -> PerturbCounts:
    """Write OUT/ID.png for every sketch of a split, and OUT/perturbation.json that says how it was perturbed.

    An interrupted run goes on where it stopped; the same arguments give the same bytes.

    Args:
        built: folder that `dpsdata build` made.
        out: folder to write.
        perturbation: how; its amount is in px of these sketches.
        split: name of a split, or `all`.

    Returns:
        Counts.

    Raises:
        MissingError: no built dataset, or nothing in the split.
        UsageError: no such split, or OUT holds sketches of other settings.
        EnvironmentFailure: OUT cannot be written to.
    """
    dataset = EditDataset(built, split)
    ids = dataset.ids
    record = {
        "version": _VERSION,
        **asdict(perturbation),
        "root_hash": dataset.root_hash,
        "size": dataset.size,
    }
    _check_record(out, record)
    make_folder(out)
    write_text_atomic(out / RECORD_FILE, json.dumps(record, indent=2, sort_keys=True) + "\n")
    failures: list[tuple[str, str]] = []
    pending = [name for name in ids if not (out / f"{name}.png").is_file()]
    for name in tqdm(pending, unit="sketch", disable=None):
        try:
            lines = read_sketch(dataset.files.source(f"sketches/{name}.png"))
        except BrokenImageError as error:
            failures.append((name, str(error)))
            continue
        write_sketch(out / f"{name}.png", perturb_sketch(lines, perturbation, name))
    return PerturbCounts(len(pending) - len(failures), len(ids) - len(pending), tuple(failures))


def _check_record(out: Path, record: dict[str, object]) -> None:
    path = out / RECORD_FILE
    advice = "choose another OUT"
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out}: expected a folder; {advice}")
    if (out / _EARLIER_RECORD_FILE).is_file() and not path.exists():
        (out / _EARLIER_RECORD_FILE).rename(path)
    if not path.is_file():
        if any(out.iterdir()):
            raise UsageError(
                f"{out}: it holds files but no {RECORD_FILE}, so `dpsdata perturb` did not make them; {advice}"
            )
        return
    try:
        with path.open("rb") as file:
            stored = json.loads(file.read(_MAX_RECORD_BYTES))
    except ValueError:
        stored = None
    if stored != record:
        raise UsageError(f"{out}: its sketches were made with other settings (look at {RECORD_FILE}); {advice}")
