"""The official files of Deep Plastic Surgery, registered so that `dps weights import FILE` takes them in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsdata.contracts import MissingError
from dpsdata.weights import Imported, WeightFile, register, register_importer
from dpsdata.weights.reading import UnrecognisedError

if TYPE_CHECKING:
    from models.networks.config import Task

NETWORKS = ("G64", "G128", "G256", "D64", "D128", "D256", "F256")
_SHORT_NAMES: dict[Task, str] = {"edit": "EDT", "synthesis": "SYN"}
_PURPOSES = {
    "G": "Deep Plastic Surgery, G: refines the sketch",
    "D": "Deep Plastic Surgery, D: the discriminator, for training alone",
    "F": "Deep Plastic Surgery, F: paints the photo from the refined sketch",
}


def weight_name(task: Task, network: str) -> str:
    """Our name of an official file, such as `dps-edit-g64`."""
    return f"dps-{task}-{network.lower()}"


def official_filename(task: Task, network: str) -> str:
    """The published name of a file, such as `ECCV-EDT-celebaHQ-G64.ckpt`."""
    return f"ECCV-{_SHORT_NAMES[task]}-celebaHQ-{network}.ckpt"


def task_in_name(stem: str) -> Task | None:
    """The task that a published file name tells; None where it tells none."""
    found = {task for task, short in _SHORT_NAMES.items() if re.search(rf"(?<![A-Za-z]){short}(?![A-Za-z])", stem)}
    return found.pop() if len(found) == 1 else None


def import_dps(path: Path) -> Imported | None:
    """The importer of these files; None for another network."""
    from models.weights import checkpoints

    try:
        found = checkpoints.read_checkpoint(path)
    except UnrecognisedError:
        return None
    if found.layout == "ours":
        raise MissingError(f"{path}: a file of our own format needs no import; pass its folder to --weights")
    if found.network not in NETWORKS:
        raise MissingError(f"{path}: a {found.network}, which was not released; pass its path, not a name")
    if re.search(r"FD\d", path.stem):
        raise MissingError(
            f"{path}: by its name the discriminator of F, which nothing here reads; D64, D128 and D256 are G's"
        )
    named = task_in_name(path.stem)
    if named not in (None, found.task):
        raise MissingError(
            f"{path}: its name says {named}, but it holds the {found.network} of {found.task}; "
            f"rename it to {official_filename(found.task, found.network)} if that is right, then run "
            "`dps weights import FILE`"
        )
    return Imported(weight_name(found.task, found.network), found.tensors, found.card())


def peek_card(path: Path) -> dict[str, Any]:
    """The card inside a safetensors file, without reading its tensors; empty where there is none."""
    import json

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as archive:
            card = json.loads((archive.metadata() or {}).get("card", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def register_official_weights() -> None:
    """Register the fourteen files and their importer; doing so twice changes nothing."""
    for task in _SHORT_NAMES:
        for network in NETWORKS:
            register(
                WeightFile(
                    weight_name(task, network),
                    official_filename(task, network),
                    None,
                    "https://github.com/VITA-Group/DeepPS (its README links the download)",
                    None,
                    None,
                    "educational and research use, says the authors' page; trained on CelebA-HQ (non-commercial)",
                    f"{_PURPOSES[network[0]]} ({task}, {network[1:]} px)",
                    "models",
                )
            )
    register_importer(import_dps)


register_official_weights()
