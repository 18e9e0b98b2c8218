"""Every metric by group of photos, the worst group first; and near-copies of the scored photos in a training set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError, MissingError, UsageError
from dpsdata.dataset.manifest import read_dataset, read_manifest
from dpsdata.dataset.plausibility import MAX_LOOK_DISTANCE
from dpsdata.dataset.shards import open_files
from dpsdata.images.arrays import hash_look
from dpsdata.images.codec import read_photo
from dpseval.metrics.face_networks import measure_identity
from dpseval.scoring.cache import hash_pixels
from dpseval.scoring.network_readers import FaceReader
from dpseval.scoring.one_pass import PassResult
from dpseval.statistics.summary import ALL_BINS, summarise

GROUP_COLUMNS = ("column", "group", "method", "level", "region", "metric", "n", "value", "ci_low", "ci_high", "note")
NO_GROUP = "(none)"
_BYTES_LIMIT = 64_000_000
_MAX_GROUPS = 50


def read_groups(path: Path) -> pd.DataFrame:
    """Read a CSV of groups.

    Args:
        path: a column `id`, and one or more others; every cell is taken as text.

    Returns:
        Text columns by id.

    Raises:
        MissingError: there is no such file.
        UsageError: no column `id`, no other column, an id that comes twice, or a column of too many groups.
    """
    if not path.is_file():
        raise MissingError(f"{path}: there is no such file; --group-by takes a CSV with a column id")
    try:
        if path.stat().st_size > _BYTES_LIMIT:
            raise UsageError(f"{path}: larger than {_BYTES_LIMIT:,} bytes; expected a CSV with a column id")
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UsageError(f"{path}: not a CSV that can be read ({str(error)[:120]}); expected a column id") from None
    if "id" not in table.columns or len(table.columns) < 2:
        raise UsageError(f"{path}: expected a column id and one or more others, got {', '.join(table.columns)}")
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        raise UsageError(f"{path}: the id {twice.iloc[0]!r} comes twice; give each photo one line")
    groups = table.set_index("id").replace("", NO_GROUP)
    for column in groups.columns:
        if groups[column].nunique() > _MAX_GROUPS:
            raise UsageError(f"{path}: column {column!r} has over {_MAX_GROUPS} groups; leave it out, or bin it")
    return groups


def score_groups(per_image: pd.DataFrame, groups: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Every metric of single images by group, the worst group of each metric and set first.

    Args:
        per_image: the columns of `per_image.csv`.
        groups: of `read_groups`; photos that it does not name are the group `(none)`.
        seed: of intervals.

    Returns:
        `GROUP_COLUMNS`.

    Raises:
        UsageError: no scored photo is in it.
    """
    if not per_image["id"].isin(groups.index).any():
        raise UsageError(
            "group-by: none of the scored photos is in the file; its column id holds the ids of the dataset"
        )
    tables = []
    for column in groups.columns:
        names = per_image["id"].map(groups[column]).fillna(NO_GROUP)
        for group in sorted(names.unique()):
            scores = summarise(per_image[names == group], (), seed)
            scores = scores[scores["bin"] == ALL_BINS]
            tables.append(scores.assign(column=column, group=group))
    whole = pd.concat(tables, ignore_index=True)
    # From worst to best: small values first where more is better, and large ones first elsewhere.
    sign = whole["higher_is_better"].map({True: 1.0, False: -1.0}).fillna(0.0).astype(float)
    whole["rank"] = whole["value"] * sign
    order = {metric: index for index, metric in enumerate(dict.fromkeys(whole["metric"]))}
    whole["metric_rank"] = whole["metric"].map(order)
    whole = whole.sort_values(
        ["column", "metric_rank", "region", "method", "level", "rank", "group"], na_position="first", kind="stable"
    )
    return whole[list(GROUP_COLUMNS)].reset_index(drop=True)


def find_leaks(
    found: PassResult, train: Path, faces: FaceReader | None, announce: Callable[[str], None]
) -> dict[str, Any]:
    """Scored photos that a training set holds too: nearly the same picture or, where faces are read, the same person.

    Args:
        found: of the pass.
        train: built folder; its split `train`, or all of it where it has none.
        faces: the networks of faces; None where they are missing.
        announce: called with a line before the work.

    Returns:
        Counts, the share, and a list of pairs; `scores.json` holds it.

    Raises:
        MissingError: no built dataset there, or a photo of it is damaged.
    """
    description = read_dataset(train)
    rows = [row for row in read_manifest(train) if row.status == "ok"]
    rows = [row for row in rows if row.split == "train"] or rows
    files = open_files(train, description, rows)
    announce(f"looking for the scored photos among {len(rows):,} training photos")
    looks: list[str] = []
    people: list[NDArray[np.float32]] = []
    for row in rows:
        source = files.source(f"images/{row.id}.png")
        try:
            photo = read_photo(source)
        except BrokenImageError as error:
            raise MissingError(f"{source}: {error}; `dpsdata verify` checks the dataset") from None
        looks.append(hash_look(photo))
        if faces is not None:
            people.append(faces.describe_truth(photo, hash_pixels(photo)))
    ids = [row.id for row in rows]
    copies = _find_copies(found.looks, looks, ids)
    same = [] if faces is None or not rows else _find_people(found, faces, np.stack(people), ids)
    count = len(found.looks)
    return {
        "train_root_hash": description["root_hash"],
        "train_count": len(rows),
        "photo_count": count,
        "copy_count": len(copies),
        "copy_share": len(copies) / count,
        "copies": copies,
        "person_count": None if faces is None else len(same),
        "person_share": None if faces is None else len(same) / count,
        "people": same,
    }


def _words(looks: list[str]) -> NDArray[np.uint64]:
    return np.frombuffer(bytes.fromhex("".join(looks)), np.uint64).reshape(len(looks), -1)


def _find_copies(scored: Mapping[str, tuple[str, str]], looks: list[str], ids: list[str]) -> list[dict[str, Any]]:
    words = _words(looks)
    copies = []
    for name, views in sorted(scored.items()):
        gaps = np.stack([np.bitwise_count(words ^ view).sum(axis=1, dtype=int) for view in _words(list(views))])
        view, nearest = np.unravel_index(int(gaps.argmin()), gaps.shape)
        if gaps[view, nearest] <= MAX_LOOK_DISTANCE:
            bits = int(gaps[view, nearest])
            copies.append({"id": name, "train_id": ids[nearest], "different_bits": bits, "mirrored": bool(view)})
    return copies


def _find_people(
    found: PassResult, faces: FaceReader, people: NDArray[np.float32], ids: list[str]
) -> list[dict[str, Any]]:
    truths = {name: faces.truths[sha256] for name, sha256, _, _ in sorted(found.photo_hashes)}
    threshold = measure_identity([0.0], np.stack(list(truths.values()))).threshold
    units = people / np.linalg.norm(people, axis=1, keepdims=True)
    same = []
    for name, descriptor in truths.items():
        likeness = units @ (descriptor / np.linalg.norm(descriptor))
        nearest = int(likeness.argmax())
        if likeness[nearest] > threshold:  # never, where the set has one person and so no threshold
            same.append({"id": name, "train_id": ids[nearest], "similarity": round(float(likeness[nearest]), 4)})
    return same
