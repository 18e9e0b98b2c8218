"""The files of a report: tables as CSV, results as JSON, the metadata of the run, tables for papers, and the page."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from dpsdata import __version__
from dpsdata.contracts import SCHEMA_VERSION, hash_ids
from dpsdata.runtime.files import make_folder, write_text_atomic
from dpseval.pairing.files import PairingIssue, count_kinds
from dpseval.pairing.pairs import Pairing
from dpseval.report.gallery import GalleryItem, save_gallery
from dpseval.scoring.config import ScoreConfig
from dpseval.scoring.networks import MAP_BYTES, VALUE_BYTES, Readers
from dpseval.scoring.one_pass import PassResult

_MAX_FINDINGS = 1000
_FOREIGN_DRIFT = 0.06  # of known pixels: 15 grey levels in the mean
_LIBRARIES = ("numpy", "opencv-python", "pandas", "pillow", "scipy", "torch", "torchvision")


def describe_results(
    pairing: Pairing,
    config: ScoreConfig,
    readers: Readers,
    found: PassResult,
    findings: Sequence[PairingIssue],
    summary: pd.DataFrame,
    tests: pd.DataFrame,
) -> dict[str, Any]:
    """What `scores.json` holds: results, and what they must share with others to be compared; no times, no paths.

    Args:
        pairing: what was scored.
        config: how.
        readers: the networks.
        found: of the pass.
        findings: that were allowed.
        summary: the columns of `scores.csv`.
        tests: the paired comparisons.
    """
    ids = [item[0] for item in found.photo_hashes]
    left_out = sorted({item.id for item in findings if item.id} - set(ids))
    return {
        "schema_version": SCHEMA_VERSION,
        "dataset_root_hash": pairing.root_hash,
        "split": pairing.split,
        "size": pairing.size,
        "count": len(ids),
        "ids_sha256": hash_ids(ids),
        "photos_sha256": found.digest(1),
        "masks": pairing.masks.partition(":")[0],
        "masks_sha256": found.digest(2),
        "sketches": "stored" if pairing.sketches is None else "own",
        "sketches_sha256": found.digest(3),
        "prep": config.prep,
        "composite": "hard mask, 8 bit",
        "weights": readers.weights,
        "missing_weights": dict(sorted(readers.missing.items())),
        "seed": config.seed,
        "sets": [{"method": key.method, "level": key.level, "count": len(found.hashes[key])} for key in pairing.keys],
        "allowed_findings": count_kinds(findings),
        "left_out": left_out,
        "scores": to_records(summary),
        "comparisons": to_records(tests),
    }


def describe_run(
    pairing: Pairing,
    config: ScoreConfig,
    readers: Readers,
    found: PassResult,
    findings: Sequence[PairingIssue],
    seconds: float,
) -> dict[str, Any]:
    """What `run.json` holds: everything that may differ from run to run; see `describe_results` for the arguments."""
    caches = {
        name: {
            "folder": None if cache.folder is None else str(cache.folder),
            "limit_bytes": limit,
            "hits": cache.hit_count,
            "misses": cache.miss_count,
            "corrupt": cache.corrupt_count,
            "failure": cache.failure,
        }
        for name, cache, limit in (("values", readers.features, VALUE_BYTES), ("truth_maps", readers.maps, MAP_BYTES))
    }
    composites = {output for pairs in found.hashes.values() for output, _ in pairs}
    truths = {truth for pairs in found.hashes.values() for _, truth in pairs}
    return {
        "schema_version": SCHEMA_VERSION,
        "warnings": _warnings(readers, found, findings),
        "findings": [str(item) for item in findings[:_MAX_FINDINGS]],
        "finding_counts": count_kinds(findings),
        "command": sys.argv,
        "outputs": str(pairing.outputs.resolve()),
        "dataset": str(pairing.dataset.resolve()),
        "sketches": None if pairing.sketches is None else str(pairing.sketches.resolve()),
        "masks": pairing.masks,
        "split": pairing.split,
        "distinct_composites": len(composites - truths),
        "distinct_truths": len(truths),
        "forwards": readers.forwards,
        "decoded_files": found.decode_count,
        "caches": caches,
        "weights": readers.weights,
        "device": str(readers.scorer.setup.device),
        "dtype": "float32",
        "batch_size": readers.scorer.setup.batch_size,
        "workers": config.workers,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "versions": {"dpseval": __version__, "python": platform.python_version(), **_versions()},
        "machine": platform.platform(),
    }


def write_report(
    folder: Path,
    per_image: pd.DataFrame,
    summary: pd.DataFrame,
    tests: pd.DataFrame,
    results: dict[str, Any],
    run: dict[str, Any],
    gallery: Sequence[GalleryItem],
    draw: bool = True,
    groups: pd.DataFrame | None = None,
) -> None:
    """Write all files of a report, the page last.

    Args:
        folder: REPORT; made where it is missing.
        per_image: the columns of `per_image.csv`.
        summary: the columns of `scores.csv`.
        tests: the paired comparisons.
        results: of `scores.json`.
        run: of `run.json`.
        gallery: pictures.
        draw: whether tables and page are written too.
        groups: the columns of `groups.csv`; None for no such file.

    Raises:
        EnvironmentFailure: a file cannot be written.
    """
    from dpseval.report.page import write_page
    from dpseval.report.tables import write_tables

    make_folder(folder)
    write_text_atomic(folder / "per_image.csv", per_image.to_csv(index=False, lineterminator="\n"))
    write_text_atomic(folder / "scores.csv", summary.to_csv(index=False, lineterminator="\n"))
    if groups is None:
        (folder / "groups.csv").unlink(missing_ok=True)
    else:
        write_text_atomic(folder / "groups.csv", groups.to_csv(index=False, lineterminator="\n"))
    write_text_atomic(folder / "scores.json", to_json(results))
    write_text_atomic(folder / "run.json", to_json(run))
    save_gallery(folder, gallery)
    if draw:
        write_tables(folder, summary, tests)
        write_page(folder)


def to_json(value: dict[str, Any]) -> str:
    """JSON with sorted keys; strict, so that any reader takes it; bytes of a path that are no text become `?`."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "replace").decode()


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as a list of objects: NaN as null, infinity as the text `inf`."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def _warnings(readers: Readers, found: PassResult, findings: Sequence[PairingIssue]) -> list[str]:
    warnings = []
    scored = {item[0] for item in found.photo_hashes}
    left_out = {item.id for item in findings if item.id} - scored
    if left_out:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in count_kinds(findings).items())
        warnings.append(f"{len(left_out)} photos are left out of every set; findings that were allowed: {kinds}")
    elif findings:
        warnings.append(f"findings that were allowed: {', '.join(count_kinds(findings))}")
    counts = {len(pairs) for pairs in found.hashes.values() if pairs}
    if len(counts) > 1:
        warnings.append(f"the sets hold different photos ({min(counts)} to {max(counts)}): read only paired tests")
    for key, pairs in found.hashes.items():
        same = sum(output == truth for output, truth in pairs)
        drifts = [row["known_drift"] for row in found.rows if (row["method"], row["level"]) == key]
        foreign = sum(isinstance(drift, float) and drift > _FOREIGN_DRIFT for drift in drifts)
        if same:
            warnings.append(
                f"in {same} of {len(pairs)} outputs of {key} the hole holds the photo itself: none was painted"
            )
        if foreign:
            warnings.append(
                f"{foreign} of {len(pairs)} outputs of {key} differ from their photos all around the hole, as files of "
                "other photos, swapped channels or cut-out holes do; only the hole is scored"
            )
    for note in dict.fromkeys(readers.missing.values()):
        names = ", ".join(name for name, text in readers.missing.items() if text == note)
        warnings.append(f"{names}: {note}")
    for name, cache in (("values", readers.features), ("maps", readers.maps)):
        if cache.corrupt_count:
            warnings.append(f"{cache.corrupt_count} damaged entries of the cache of {name} were computed again")
        if cache.failure is not None:
            warnings.append(f"the cache of {name} could not be written: {cache.failure}")
    return warnings


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
