"""Published HED files."""

from __future__ import annotations

from pathlib import Path

from dpsdata.contracts import MissingError
from dpsdata.weights import Imported, register_importer
from dpsdata.weights.reading import UnrecognisedError


def import_hed(path: Path) -> Imported | None:
    """The importer of HED files; None for another network."""
    from dpsdata.hed import checkpoints  # with torch, which a command line has no time for

    try:
        found = checkpoints.read_checkpoint(path)
    except UnrecognisedError:
        return None
    if found.layout == "ours":
        raise MissingError(f"{path}: a HED file of our own format needs no import; pass its path, not a name")
    if found.width != 64:
        raise MissingError(
            f"{path}: a HED network of width {found.width}, the published ones have 64; pass its path, not a name"
        )
    return Imported(f"hed-{found.layout}", checkpoints.stored_tensors(found), checkpoints.stored_card(found))


register_importer(import_hed)
