"""The command `dps export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import UsageError


def register_export(app: typer.Typer) -> None:
    """Add `export` to the app of the room."""
    app.command("export")(export_command)


def export_command(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run of `dps train`; with --onnx bundled, official or a folder.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; `--weights` reads it.")],
    licence: Annotated[str, typer.Option(help="Terms of the weights, for their cards.")] = "",
    onnx: Annotated[bool, typer.Option("--onnx", help="Write edit.onnx and edit.json, for ONNX runtimes.")] = False,
    precision: Annotated[str, typer.Option(help="Of --onnx: fp32, or fp16 for half the size.")] = "fp32",
) -> None:
    """Write the networks of a run in half precision.

    With their hashes and what the run says of itself, small enough to hand on.
    """
    if onnx:
        _export_onnx(run, out, precision)
        return
    if precision != "fp32":
        raise UsageError("--precision is of --onnx; without it weights are always written in half precision")
    from models.methods.registry import METHODS
    from models.training.export import RESULTS_FILE, export_run

    sizes = export_run(Path(run), out, licence)
    for network, size in sizes.items():
        typer.echo(f"{network}: {size / 1e6:.2f} MB")
    typer.echo(f"{len(sizes)} networks, {sum(sizes.values()) / 1e6:.2f} MB, in {out}")
    baseline = next((name for name in sizes if name in METHODS), None)
    if baseline is not None:
        typer.echo(f"next: dps predict BUILT OUT --masks dps --method {baseline} --weights {out}")
    elif json.loads((out / RESULTS_FILE).read_text("utf-8"))["config"].get("task") == "synthesis":
        typer.echo(f"next: dps synthesize SKETCH --weights {out} -o OUT")
    else:
        typer.echo(f"next: dps edit PHOTO --mask MASK --sketch SKETCH --weights {out} -o OUT")


def _export_onnx(weights: str, out: Path, precision: str) -> None:
    from models.editing.loading import load_editing_net
    from models.editing.run import hash_weights
    from models.weights.onnx import ONNX_FILE, export_onnx

    # A run keeps its networks in a folder of its own.
    place = str(Path(weights) / "weights") if (Path(weights) / "weights").is_dir() else weights
    size = export_onnx(load_editing_net(place, "edit"), out, precision, hash_weights(place, "edit"))
    typer.echo(f"{out / ONNX_FILE}: {size / 1e6:.2f} MB, {precision}; edit.json beside it says what it takes")
