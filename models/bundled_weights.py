"""Networks of Deep Plastic Surgery that come inside the package, registered by name; each is hash-checked at load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsdata.contracts import MissingError
from dpsdata.weights import WeightFile, register, weights_path

if TYPE_CHECKING:
    from models.presets import Task

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
HASHES_FILE = "bundled.json"
_LICENCE = "research use only: trained in part on photos of people under licences that forbid commercial use"


def bundled_name(task: Task, network: str) -> str:
    """Our name of a bundled network, such as `dps-bundled-edit-g64`."""
    return f"dps-bundled-{task}-{network.lower()}"


def bundled_networks(task: Task) -> tuple[str, ...]:
    """The networks of one task that the package holds, such as `("F64", "G64")`; empty where it holds none."""
    prefix = bundled_name(task, "")
    return tuple(name.removeprefix(prefix).upper() for name in sorted(_entries(task)) if name.startswith(prefix))


def bundled_sources(task: Task) -> dict[str, Path]:
    """{network: its file} of one task, each file's SHA-256 checked just now; empty where the package holds none.

    Raises:
        MissingError: a file is missing or damaged.
    """
    return {network: weights_path(bundled_name(task, network)) for network in bundled_networks(task)}


def register_bundled() -> None:
    """Register what the package holds; doing so twice changes nothing."""
    tasks: tuple[Task, ...] = ("edit", "synthesis")
    for task in tasks:
        for network in bundled_networks(task):
            part = "refines the sketch" if network.startswith("G") else "paints the photo from the refined sketch"
            register(
                WeightFile(
                    bundled_name(task, network),
                    f"{network}.safetensors",
                    None,
                    "bundled with this package",
                    None,
                    None,
                    _LICENCE,
                    f"Deep Plastic Surgery, {network[0]} for {task}, trained by this project: {part}",
                    "models",
                    BUNDLED_FOLDER / task,
                )
            )


def _entries(task: Task) -> dict[str, Any]:
    try:
        entries = json.loads((BUNDLED_FOLDER / task / HASHES_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise MissingError(
            f"{BUNDLED_FOLDER / task / HASHES_FILE}: damaged ({error}); run "
            "`pip install --force-reinstall deep-plastic-surgery`"
        ) from None
    return entries if isinstance(entries, dict) else {}


register_bundled()
