"""Where the mask of each photo comes from: the built folder, a folder of files by id, or a drawn family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dpsdata.contracts import UsageError
from dpsdata.dataset.manifest import ManifestRow
from dpsdata.dataset.shards import StoredFiles
from dpsdata.masks import MASK_FAMILIES, check_family, is_from_files
from dpsdata.masks.files import FILES, open_mask_folder
from dpseval.pairing.files import MaskSource
from dpseval.pairing.findings import PairingIssue


def find_masks(
    rows: Sequence[ManifestRow], files: StoredFiles, family: str, seed: int, stored_in: str | None, is_recorded: bool
) -> tuple[dict[str, MaskSource], list[PairingIssue]]:
    """Pair photos and masks by id.

    Args:
        rows: the photos that are scored.
        files: of the built folder.
        family: mask family, `files:DIR` or `pool:DIR`.
        seed: of the build.
        stored_in: folder of the built dataset that holds these masks; None where the build did not make them.
        is_recorded: whether `run.json` of the outputs tells that they were made with mask files. They are read here as
            they were there then; those beside any other outputs must be plain 0 and 255.

    Returns:
        The mask of each id, and the findings `missing` and `duplicate`.
    """
    stored = {row.id: files.source(f"masks/{stored_in}/{row.id}.png") for row in rows if stored_in in row.masks}
    masks = {row.id: MaskSource(family, seed, stored.get(row.id)) for row in rows}
    if len(stored) == len(rows) or not family.startswith(FILES):
        return masks, []
    listed = open_mask_folder(family)
    findings = []
    for name in (row.id for row in rows if row.id not in stored):
        paths = listed.candidates(name)
        if not paths:
            findings.append(
                PairingIssue("missing", str(listed.root / f"{name}.png"), "this photo has no mask file", name)
            )
        elif not is_recorded:
            masks[name] = MaskSource(family, seed, paths[0])
        findings += [PairingIssue("duplicate", str(path), f"a second mask of {name}", name) for path in paths[1:]]
    return masks, findings


def check_masks(masks: str) -> str:
    """The mask family of an option: a family, `files:DIR`, or a folder, which reads as `files:DIR`.

    Raises:
        UsageError: neither a family nor a folder.
    """
    if masks not in MASK_FAMILIES and not is_from_files(masks) and Path(masks).is_dir():
        return f"files:{masks}"
    family = check_family(masks)
    if is_from_files(family) and not Path(family.partition(":")[2]).is_dir():
        raise UsageError(f"masks: {family}: there is no such folder")
    return family
