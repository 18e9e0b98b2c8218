"""Networks inside the package, registered by name, each hash-checked at load; and weights as people name them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsdata.contracts import MissingError, UsageError, did_you_mean, typed_path
from dpsdata.weights import REINSTALL, WeightFile, register, weights_path
from dpsdata.weights.reading import HASHES_FILE

if TYPE_CHECKING:
    from models.networks.config import Task


BUNDLED_FOLDER = Path(__file__).parents[1] / "bundled"
_TASKS: tuple[Task, ...] = ("edit", "synthesis")
_BASELINES = {"deepfillv2": "DeepFillv2", "deepfillv2-guided": "DeepFillv2, guided by a sketch", "scfegan": "SC-FEGAN"}
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


def bundled_baseline_name(stem: str) -> str:
    """Our name of a bundled baseline, such as `scfegan-bundled`."""
    return f"{stem}-bundled"


def has_bundled_baseline(stem: str) -> bool:
    """Whether the package holds weights of a baseline, such as `scfegan`."""
    return bundled_baseline_name(stem) in _entries(stem)


def register_bundled() -> None:
    """Register what the package holds; doing so twice changes nothing.

    A damaged list of hashes registers nothing here; whoever asks for these weights, and `dps doctor`, says so.
    """
    with suppress(MissingError):
        _register_all()


def _register_all() -> None:
    for stem, title in _BASELINES.items():
        if has_bundled_baseline(stem):
            _register(bundled_baseline_name(stem), f"{stem}.safetensors", stem, f"{title}, trained by this project")
    for task in _TASKS:
        for network in bundled_networks(task):
            part = "refines the sketch" if network.startswith("G") else "paints the photo from the refined sketch"
            description = f"Deep Plastic Surgery, {network[0]} for {task}, trained by this project: {part}"
            _register(bundled_name(task, network), f"{network}.safetensors", task, description)


def _register(name: str, file: str, folder: str, description: str) -> None:
    place = BUNDLED_FOLDER / folder
    origin = "bundled with this package"
    register(WeightFile(name, file, None, origin, None, None, _LICENCE, description, "models", place))


def _entries(folder: str) -> dict[str, Any]:
    try:
        entries = json.loads((BUNDLED_FOLDER / folder / HASHES_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise MissingError(f"{BUNDLED_FOLDER / folder / HASHES_FILE}: damaged ({error}); run `{REINSTALL}`") from None
    return entries if isinstance(entries, dict) else {}


register_bundled()


SOURCES = ("bundled", "official")


def typed_weights(text: str) -> str:
    """`bundled`, `official`, or an absolute path, so that what a run has noted is found from anywhere.

    Raises:
        UsageError: a typing slip in one of the two names.
    """
    if text in SOURCES:
        return text
    path = typed_path(text)
    hint = did_you_mean(text, SOURCES)
    if hint and not path.exists():
        raise UsageError(f"weights: {hint}expected {', '.join(SOURCES)} or a path, got {text!r}")
    return str(path)


def choose_weights(weights: str | None, task: str) -> str:
    """The name to load by; a folder becomes absolute, so that `--from` finds it from anywhere."""
    if weights is None:
        from dpsdata.weights import installed
        from models.networks.config import check_task
        from models.weights.official import weight_name

        names = [weight_name(check_task(task), network) for network in ("G64", "G128", "G256", "F256")]
        return "official" if all(map(installed, names)) else "bundled"
    return typed_weights(weights)
