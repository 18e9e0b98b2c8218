"""A finished run as a small folder to hand on: networks in half precision, hashes, and a model card to complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from dpsdata.contracts import MissingError, UsageError
from dpsdata.runtime.files import write_failure, write_text_atomic
from dpsdata.weights.reading import HASHES_FILE, read_state
from dpsdata.weights.store import sha256_file, write_safetensors
from models.training.engine.state import CARD_FILE, WEIGHTS_FOLDER, count_images
from models.weights.bundled import bundled_baseline_name, bundled_name
from models.weights.checkpoints import narrow, read_checkpoint, write_checkpoint

RESULTS_FILE = "training.json"


def export_run(run: Path, out: Path, licence: str = "") -> dict[str, int]:
    """Write the networks of a run, of Deep Plastic Surgery or of a baseline, in half precision.

    Args:
        run: folder of `dps train`, finished or stopped by `--stop-after`.
        out: folder to write: a safetensors file with its card for each network, `bundled.json` with their hashes and
            `training.json` with what the run says of itself. `load_editor(out)`, or for a baseline `--weights
            METHOD=OUT`, reads it.
        licence: terms of the weights, for their cards.

    Returns:
        {network: bytes of its file}.

    Raises:
        MissingError: the run is not finished or damaged.
        UsageError: `out` holds a file that this export does not write.
        EnvironmentFailure: `out` cannot be written.
    """
    metadata = read_run_card(run)
    sources = sorted((run / WEIGHTS_FOLDER).glob("*.safetensors"))
    told = {
        "preset": metadata["preset"],
        "images_seen": _count_images(metadata),
        "dataset_root_hash": metadata["dataset"]["root_hash"],
    }
    if licence:
        told["licence"] = licence
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = {path.name for path in out.iterdir()}
    except OSError as error:
        raise write_failure(out, error) from error
    networks = {name for source in sources for name in (source.name, source.with_suffix(".json").name)}
    foreign = sorted(held - networks - {HASHES_FILE, RESULTS_FILE, "MODEL_CARD.md", "training.toml"})
    if foreign:
        raise UsageError(f"{out}: it holds {foreign[0]}, which is not part of this export; name a new folder")
    write = _write_baseline if "method" in metadata["config"] else _write_editing
    written = dict(write(source, out, told) for source in sources)
    hashes = {
        name: {"file": path.name, "sha256": sha256_file(path), "size": path.stat().st_size}
        for name, path in written.items()
    }
    sizes = {path.stem: path.stat().st_size for path in written.values()}
    if not sizes:
        raise MissingError(f"{run / WEIGHTS_FOLDER}: no networks there; finish the run with the same `dps train`")
    write_text_atomic(out / RESULTS_FILE, json.dumps(metadata, indent=2, sort_keys=True) + "\n")
    write_text_atomic(out / HASHES_FILE, json.dumps(hashes, indent=2, sort_keys=True) + "\n")
    return sizes


def _write_editing(source: Path, out: Path, told: dict[str, Any]) -> tuple[str, Path]:
    checkpoint = read_checkpoint(source)
    path = out / f"{checkpoint.network}.safetensors"
    write_checkpoint(path, checkpoint, torch.float16, told)
    return bundled_name(checkpoint.task, checkpoint.network), path


def _write_baseline(source: Path, out: Path, told: dict[str, Any]) -> tuple[str, Path]:
    tensors, card = read_state(source)
    path = out / source.name
    half = {key: narrow(value, torch.float16) for key, value in tensors.items()}
    # The long story stays in training.json.
    card = {key: value for key, value in card.items() if key not in ("training", "differences", "results")} | told
    write_safetensors(path, half, card)
    write_text_atomic(path.with_suffix(".json"), json.dumps(card, indent=2, sort_keys=True) + "\n")
    return bundled_baseline_name(source.stem), path


def _count_images(metadata: dict[str, Any]) -> int | None:
    """Images seen by all networks, those of the run that this one began with among them; None where unknown."""
    seen = metadata.get("images_seen")
    if not metadata.get("begun_with"):
        return seen
    return count_images(seen, metadata["begun_with"].get("images_seen"))


def read_run_card(run: Path) -> dict[str, Any]:
    """What a run says of itself.

    Raises:
        MissingError: no run is there, it is not finished, or its card is damaged.
    """
    try:
        metadata = json.loads((run / CARD_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{run / CARD_FILE}: not there; name the folder that `dps train` wrote") from None
    except (OSError, ValueError) as error:
        raise MissingError(f"{run / CARD_FILE}: damaged ({error}); run the same `dps train` again") from None
    if not isinstance(metadata, dict) or metadata.get("status") not in ("done", "stopped"):
        raise MissingError(f"{run}: this run is not finished; resume it with the same `dps train` command")
    if not isinstance(metadata.get("config"), dict):
        raise MissingError(f"{run / CARD_FILE}: damaged; run the same `dps train` again")
    return metadata
