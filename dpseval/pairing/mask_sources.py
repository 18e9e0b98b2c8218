"""Where the mask of each photo comes from: the built folder, a folder of files by id, or a drawn family."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from dpsdata.contracts import sample_id
from dpsdata.dataset.manifest import ManifestRow
from dpsdata.dataset.shards import StoredFiles
from dpsdata.masks import mask_folder
from dpseval.pairing.files import IMAGE_SUFFIXES, MaskSource
from dpseval.pairing.findings import Finding

FILES = "files:"


def find_masks(
    rows: Sequence[ManifestRow], files: StoredFiles, family: str, seed: int, is_recorded: bool
) -> tuple[dict[str, MaskSource], list[Finding]]:
    """Pair photos and masks by id.

    A file without the id of a photo stands in for its mask only where the outputs were made so: `dps predict` draws
    one of the folder by the id and the seed, which gives the same mask here. For any other outputs that would be a
    guess, and is a finding.

    Args:
        rows: the photos that are scored.
        files: of the built folder.
        family: mask family, or `files:DIR`.
        seed: of the build.
        is_recorded: whether `run.json` of the outputs tells that they were made with mask files.

    Returns:
        The mask of each id, and the findings `missing` and `duplicate`.
    """
    folder = mask_folder(family)
    stored = {row.id: files.source(f"masks/{folder}/{row.id}.png") for row in rows if folder in row.masks}
    masks = {row.id: MaskSource(family, seed, stored.get(row.id)) for row in rows}
    if len(stored) == len(rows) or not family.startswith(FILES):
        return masks, []
    root = Path(family.removeprefix(FILES))
    by_id = _list_by_id(root)
    findings = []
    for name in (row.id for row in rows if row.id not in stored):
        paths = by_id.get(name, [])
        if paths:
            masks[name] = MaskSource(family, seed, paths[0])
        elif not is_recorded:
            findings.append(Finding("missing", str(root / f"{name}.png"), "this photo has no mask file", name))
        findings += [Finding("duplicate", str(path), f"a second mask of {name}", name) for path in paths[1:]]
    return masks, findings


def _list_by_id(root: Path) -> dict[str, list[Path]]:
    """Image files of a folder and its subfolders; a file right in it may bear the id of a photo from a subfolder."""
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*"), key=lambda path: (len(path.parts), path)):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file():
            name = sample_id(unicodedata.normalize("NFC", path.relative_to(root).as_posix()))
            found.setdefault(name, []).append(path)
    return found
