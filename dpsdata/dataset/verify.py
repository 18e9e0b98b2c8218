"""`dpsdata verify`: hashes every file of a built folder and checks that the pairs belong together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dpsdata.contracts import BrokenImageError, MissingError, UsageError
from dpsdata.dataset.journal import UNFINISHED, read_journal, state_folder
from dpsdata.dataset.manifest import ManifestRow, manifest_text, read_dataset, read_manifest, root_hash
from dpsdata.images.codec import read_edges, read_sketch
from dpsdata.runtime.device import keyed_generator
from dpsdata.sketch import SimplifyConfig, simplify_edge_map

DESCRIPTION_FILES = frozenset({"manifest.csv", "dataset.json", "errors.csv", "preview.html"})


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: `flipped`, `missing`, `extra`, `misaligned`, `manifest` or `unfinished`."""

    kind: str
    path: str
    reason: str


@dataclass(frozen=True)
class VerifyResult:
    """What was checked and found. `kept_count`: files that an earlier build with other options made."""

    file_count: int
    sample_count: int
    kept_count: int
    findings: tuple[Finding, ...]


def verify_dataset(folder: Path, pair_count: int = 50) -> VerifyResult:
    """Check every byte of a built folder.

    Args:
        folder: a built folder.
        pair_count: for so many samples, chosen by their ids, the sketch is computed again from the stored edge map
            and must be the stored one.

    Raises:
        MissingError: no built dataset there.
        UsageError: `pair_count` is below 0.
    """
    if pair_count < 0:
        raise UsageError(f"pairs: expected 0 or more sketches to compute again, got {pair_count}")
    description = read_dataset(folder)
    rows = read_manifest(folder)
    findings: list[Finding] = []
    if (state_folder(folder) / UNFINISHED).exists():
        findings.append(Finding("unfinished", str(folder), "a build did not end; run the same `dpsdata build` again"))
    digest = root_hash(manifest_text(rows))
    if digest != description["root_hash"]:
        reason = f"root hash {digest[:16]}..., but dataset.json says {description['root_hash'][:16]}..."
        findings.append(Finding("manifest", "manifest.csv", reason))
    expected = {path: want for row in rows for path, want in row.files().items()}
    findings += _check_bytes(folder, expected)
    known = {path for record in read_journal(folder).values() for path in record.files}
    kept = 0
    for path in _walk(folder):
        if path in expected or path in DESCRIPTION_FILES:
            continue
        if path in known:
            kept += 1
        else:
            findings.append(Finding("extra", path, "not a file of this dataset; remove it"))
    size = int(description["size"])
    broken = {finding.path for finding in findings}
    findings += _check_pairs(folder, rows, size, pair_count, broken)
    good = sum(row.status == "ok" for row in rows)
    return VerifyResult(len(expected), good, kept, tuple(findings))


def _check_bytes(folder: Path, expected: dict[str, str]) -> Iterator[Finding]:
    def check(item: tuple[str, str]) -> Finding | None:
        path, want = item
        try:
            found = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        except FileNotFoundError:
            return Finding("missing", path, "in the manifest, but not on disk; run the same `dpsdata build` again")
        except OSError as error:
            return Finding("missing", path, f"cannot be read: {error.strerror}")
        if found == want:
            return None
        return Finding(
            "flipped", path, f"SHA-256 {found[:16]}..., but {want[:16]}... was built; delete it and build again"
        )

    with ThreadPoolExecutor(4) as pool:
        checked = tqdm(pool.map(check, expected.items()), total=len(expected), desc="files", unit="file", disable=None)
        yield from (finding for finding in checked if finding is not None)


def _walk(folder: Path) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        if Path(root) == folder:
            folders[:] = [name for name in folders if name != state_folder(folder).name]
        folders.sort()
        for name in sorted(names):
            yield Path(root, name).relative_to(folder).as_posix()


def _check_pairs(
    folder: Path, rows: list[ManifestRow], size: int, pair_count: int, broken: set[str]
) -> Iterator[Finding]:
    options = SimplifyConfig.for_size(size)
    candidates = [row for row in rows if row.status == "ok" and not broken & row.files().keys()]
    order = keyed_generator(0, "", "verify-pairs").permutation(len(candidates))
    for index in sorted(order[:pair_count].tolist()):
        row = candidates[index]
        path = f"sketches/{row.id}.png"
        try:
            edges, sketch = read_edges(folder / "edges" / f"{row.id}.png"), read_sketch(folder / path)
        except (BrokenImageError, MissingError) as error:
            yield Finding("misaligned", path, str(error))
            continue
        if edges.shape != (size, size) or sketch.shape != edges.shape:
            yield Finding(
                "misaligned", path, f"edges {edges.shape} and sketch {sketch.shape}, expected {size} px a side"
            )
        elif (simplify_edge_map(edges, options) != sketch).any():
            yield Finding("misaligned", path, "not the sketch of the edge map that is stored for this photo")
