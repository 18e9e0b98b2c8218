"""`dpsdata verify`: hashes every file of a built folder and checks that the pairs belong together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dpsdata.contracts import BrokenImageError, MissingError, UsageError
from dpsdata.dataset.journal import UNFINISHED, read_journal, state_folder
from dpsdata.dataset.manifest import ManifestRow, read_dataset, read_manifest, root_hash
from dpsdata.dataset.shards import (
    EXPORT_STATE,
    SHARD_LIST,
    PlainFiles,
    ShardRow,
    StoredFiles,
    dataset_format,
    hash_file,
    list_members,
    open_files,
    place_samples,
    read_shard_list,
    split_member,
)
from dpsdata.images.codec import read_edges, read_sketch
from dpsdata.runtime.device import keyed_generator
from dpsdata.sketch import SimplifyConfig, simplify_edge_map
from dpsdata.sources.remote import local_copy
from dpsdata.sources.scan import is_litter

DESCRIPTION_FILES = frozenset({"manifest.csv", "dataset.json", "errors.csv", "preview.html", "README.md", EXPORT_STATE})


@dataclass(frozen=True)
class IntegrityIssue:
    """One thing that is wrong.

    `kind`: `flipped`, `missing`, `extra`, `misaligned`, `manifest` or `unfinished`; of a shard also `truncated`, or
    `foreign` where it is of another build.
    """

    kind: str
    path: str
    reason: str


@dataclass(frozen=True)
class VerifyResult:
    """What was checked and found. `kept_count`: files that an earlier build with other options made."""

    file_count: int
    sample_count: int
    kept_count: int
    findings: tuple[IntegrityIssue, ...]


def verify_dataset(folder: Path, pair_count: int = 50) -> VerifyResult:
    """Check every byte of a built folder.

    Args:
        folder: a built folder, or its address.
        pair_count: for so many samples, chosen by their ids, the sketch is computed again from the stored edge map
            and must be the stored one.

    Raises:
        MissingError: no built dataset there.
        UsageError: `pair_count` is below 0.
    """
    if pair_count < 0:
        raise UsageError(f"pairs: expected 0 or more sketches to compute again, got {pair_count}")
    folder = local_copy(folder)
    description = read_dataset(folder)
    rows = read_manifest(folder)
    findings: list[IntegrityIssue] = []
    if (state_folder(folder) / UNFINISHED).exists():
        findings.append(
            IntegrityIssue("unfinished", str(folder), "a build did not end; run the same `dpsdata build` again")
        )
    digest = root_hash(rows)
    if digest != description["root_hash"]:
        reason = f"root hash {digest[:16]}..., but dataset.json says {description['root_hash'][:16]}..."
        findings.append(IntegrityIssue("manifest", "manifest.csv", reason))
    expected = {path: want for row in rows for path, want in row.files().items()}
    files: StoredFiles | None = PlainFiles(folder)
    shards: set[str] | None = None
    if dataset_format(description) == "files":
        findings += _check_bytes(folder, expected)
    else:
        shards, found = check_shard_files(folder, description, rows, expected)
        findings += found
        files = None if found else open_files(folder, description, rows)
    described = {*DESCRIPTION_FILES, *(shards if shards is not None else expected)}
    with read_journal(folder) as records:
        known = {path for record in records for path in record.files}
    kept = 0
    for path in _walk(folder):
        if path in described:
            continue
        if path in known:
            kept += 1
        else:
            findings.append(IntegrityIssue("extra", path, "not a file of this dataset; remove it"))
    size = int(description["size"])
    broken = {finding.path for finding in findings}
    if files is not None:
        findings += _check_pairs(files, rows, size, pair_count, broken)
    good = sum(row.status == "ok" for row in rows)
    return VerifyResult(len(expected), good, kept, tuple(findings))


def _check_bytes(folder: Path, expected: dict[str, str]) -> Iterator[IntegrityIssue]:
    def check(item: tuple[str, str]) -> IntegrityIssue | None:
        path, want = item
        try:
            found = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        except FileNotFoundError:
            return IntegrityIssue(
                "missing", path, "in the manifest, but not on disk; run the same `dpsdata build` again"
            )
        except OSError as error:
            return IntegrityIssue("missing", path, f"cannot be read: {error.strerror}")
        if found == want:
            return None
        return IntegrityIssue(
            "flipped", path, f"SHA-256 {found[:16]}..., but {want[:16]}... was built; delete it and build again"
        )

    with ThreadPoolExecutor(4) as pool:
        checked = tqdm(pool.map(check, expected.items()), total=len(expected), desc="files", unit="file", disable=None)
        yield from (finding for finding in checked if finding is not None)


def check_shard_files(
    folder: Path, description: Mapping[str, Any], rows: list[ManifestRow], expected: Mapping[str, str]
) -> tuple[set[str], list[IntegrityIssue]]:
    """Check every byte of the shards, and every member against the manifest.

    Returns:
        The files that belong to the dataset, and what is wrong.
    """
    paths = {SHARD_LIST}
    try:
        shards = read_shard_list(folder, str(description.get("shards", {}).get("sha256")))
        placed = place_samples(folder, shards, rows)
    except MissingError as error:
        return paths, [IntegrityIssue("manifest", SHARD_LIST, str(error))]
    paths |= {shard.path for shard in shards}
    wanted: list[dict[str, str]] = [{} for _ in shards]
    for path, digest in expected.items():
        wanted[placed[path.rpartition("/")[2].removesuffix(".png")]][path] = digest
    with ThreadPoolExecutor(4) as pool:
        checked = pool.map(partial(_check_shard, folder), shards, wanted)
        found = list(tqdm(checked, total=len(shards), desc="shards", unit="shard", disable=None))
    return paths, [finding for finding in found if finding is not None]


def _check_shard(folder: Path, shard: ShardRow, wanted: Mapping[str, str]) -> IntegrityIssue | None:
    path = folder / shard.path
    try:
        size, digest = path.stat().st_size, hash_file(path)
    except FileNotFoundError:
        return IntegrityIssue("missing", shard.path, f"in {SHARD_LIST}, but not on disk; {_AGAIN}")
    except OSError as error:
        return IntegrityIssue("missing", shard.path, f"cannot be read: {error.strerror}")
    if size < shard.byte_count:
        return IntegrityIssue("truncated", shard.path, f"{size} bytes, but {shard.byte_count} were built; {_AGAIN}")
    try:
        found = {split_member(part.name): part for part in list_members(path)}
    except MissingError as error:
        return IntegrityIssue("flipped", shard.path, str(error))
    ids = {sample_id for sample_id, _ in found}
    members = {member: part for (_, member), part in found.items() if member is not None}
    if members.keys() != wanted.keys() or len(ids) != shard.count:
        odd = sorted(members.keys() ^ wanted.keys())[:1]
        return IntegrityIssue(
            "foreign", shard.path, f"of another build: {odd[0] if odd else 'a sample'} does not fit; {_AGAIN}"
        )
    try:
        hashes = {name: hashlib.sha256(part.read_bytes()).hexdigest() for name, part in members.items()}
    except OSError as error:
        return IntegrityIssue("missing", shard.path, f"cannot be read: {error.strerror}")
    changed = [name for name, digest_of_member in hashes.items() if digest_of_member != wanted[name]]
    if changed:
        is_other = len(changed) == len(members)
        kind, reason = ("foreign", "of another build: no file") if is_other else ("flipped", f"{changed[0]}")
        return IntegrityIssue(kind, shard.path, f"{reason} has not the SHA-256 that was built; {_AGAIN}")
    if digest != shard.sha256:
        return IntegrityIssue(
            "flipped", shard.path, f"SHA-256 {digest[:16]}..., but {shard.sha256[:16]}... was built; {_AGAIN}"
        )
    return None


_AGAIN = "run the same `dpsdata build` again"


def _walk(folder: Path) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        if Path(root) == folder:
            folders[:] = [name for name in folders if name != state_folder(folder).name]
        folders.sort()
        for name in sorted(name for name in names if not is_litter(name)):
            yield Path(root, name).relative_to(folder).as_posix()


def _check_pairs(
    files: StoredFiles, rows: list[ManifestRow], size: int, pair_count: int, broken: set[str]
) -> Iterator[IntegrityIssue]:
    options = SimplifyConfig.for_size(size)
    candidates = [row for row in rows if row.status == "ok" and not broken & row.files().keys()]
    order = keyed_generator(0, "", "verify-pairs").permutation(len(candidates))
    for index in sorted(order[:pair_count].tolist()):
        row = candidates[index]
        path = f"sketches/{row.id}.png"
        try:
            edges, sketch = read_edges(files.source(f"edges/{row.id}.png")), read_sketch(files.source(path))
        except (BrokenImageError, MissingError) as error:
            yield IntegrityIssue("misaligned", path, str(error))
            continue
        if edges.shape != (size, size) or sketch.shape != edges.shape:
            yield IntegrityIssue(
                "misaligned", path, f"edges {edges.shape} and sketch {sketch.shape}, expected {size} px a side"
            )
        elif (simplify_edge_map(edges, options) != sketch).any():
            yield IntegrityIssue("misaligned", path, "not the sketch of the edge map that is stored for this photo")
