"""The commands `dps edit`, `dps synthesize` and `dps inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsdata.contracts import LEVELS_TEXT, RUN_FILE, FindingsError, UsageError, parse_levels, parse_numbers
from models.editing.request import (
    FEATHER_PX,
    EditRequest,
    InputFile,
    StoredRun,
    check_blend,
    read_input,
    read_stored_run,
)
from models.weights.bundled import choose_weights

_Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="OUT", help="Folder for the results; with --from its own folder.")
]
_Levels = Annotated[
    str, typer.Option(help="Refinement levels in [0, 1]: 0 follows the drawing, 1 corrects it the most.")
]
_Weights = Annotated[
    str | None,
    typer.Option(
        help="bundled, official (imported by `dps weights import`), or a folder. [default: the best installed weights]"
    ),
]
_From = Annotated[
    Path | None, typer.Option("--from", metavar="RUN.JSON", help="Repeat a run with its own inputs and options.")
]
_Device = Annotated[str, typer.Option(help="cpu, cuda or auto.")]
_Provenance = Annotated[bool, typer.Option(help="Mark the pictures as edited (XMP); `dps inspect` reads the mark.")]
_Precision = Annotated[str, typer.Option(help="fp32, or bf16 where the hardware has it.")]


def edit_command(
    photo: Annotated[
        Path | None, typer.Argument(metavar="PHOTO", help="A photo, or one picture of photo, sketch and mask.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="White = edit. Strokes on a transparent layer, or an erased area, work too.")
    ] = None,
    sketch: Annotated[Path | None, typer.Option(help="Lines on white, on black or on a transparent layer.")] = None,
    levels: _Levels = LEVELS_TEXT,
    out: _Out = None,
    weights: _Weights = None,
    align: Annotated[str, typer.Option(help="auto finds the face; none takes the whole photo as a crop.")] = "auto",
    box: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="The square to edit in px, from hair to shoulders.")
    ] = None,
    eyes: Annotated[str | None, typer.Option(metavar="X1,Y1,X2,Y2", help="Centres of the eyes in px.")] = None,
    blend: Annotated[
        str | None,
        typer.Option(
            help="none, feather, or poisson, which carries the photo's colours into the hole. [default: none]"
        ),
    ] = None,
    feather: Annotated[
        float | None, typer.Option(metavar="PX", help="Width of --blend feather inside of the mask, px. [default: 8]")
    ] = None,
    grain: Annotated[bool, typer.Option(help="Give the hole the fine noise of the photo around it.")] = False,
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Edit what is black, not what is white.")] = False,
    provenance: _Provenance = True,
    device: _Device = "cpu",
    precision: _Precision = "fp32",
    from_run: _From = None,
) -> None:
    """Edit a photo by a mask and a rough sketch.

    No pixel outside the mask changes.
    """
    if from_run is not None:
        if photo is not None or mask is not None or sketch is not None:
            raise UsageError("--from reads the inputs of its run; pass no PHOTO, --mask or --sketch beside it")
        _repeat(from_run, out, weights, "edit")
        return
    _check_complete(photo, mask, sketch, out)
    assert photo is not None  # noqa: S101 (for the type checker)
    if blend == "none" and feather:
        raise UsageError("--feather is the width of --blend feather; leave it out for --blend none")
    feather_px = feather if feather is not None else FEATHER_PX if blend == "feather" else 0.0
    request = EditRequest(
        "edit",
        parse_levels(levels),
        choose_weights(weights, "edit"),
        align,
        None if box is None else parse_numbers(box, "--box", 4),
        None if eyes is None else parse_numbers(eyes, "--eyes", 4),
        feather_px,
        invert_mask,
        device,
        precision,
        check_blend(blend or ("feather" if feather_px else "none"), feather_px),
        grain,
        provenance,
    )
    paths = {"photo": photo, "mask": mask, "sketch": sketch}
    inputs = {role: read_input(role, path) for role, path in paths.items() if path is not None}
    _run(request, inputs, _check_out(out))


def synthesize_command(
    sketch: Annotated[
        Path | None, typer.Argument(metavar="SKETCH", help="Lines on white, on black or on a transparent layer.")
    ] = None,
    levels: _Levels = LEVELS_TEXT,
    out: _Out = None,
    weights: _Weights = None,
    device: _Device = "cpu",
    precision: _Precision = "fp32",
    provenance: _Provenance = True,
    from_run: _From = None,
) -> None:
    """Draw a face from a sketch alone."""
    if from_run is not None:
        if sketch is not None:
            raise UsageError("--from reads the sketch of its run; pass no SKETCH beside it")
        _repeat(from_run, out, weights, "synthesize")
        return
    if sketch is None:
        raise UsageError("a SKETCH is missing; run `dps synthesize SKETCH -o OUT`")
    request = EditRequest(
        "synthesize",
        parse_levels(levels),
        choose_weights(weights, "synthesis"),
        "none",
        device=device,
        precision=precision,
        provenance=provenance,
    )
    _run(request, {"sketch": read_input("sketch", sketch)}, _check_out(out))


def _check_complete(photo: Path | None, mask: Path | None, sketch: Path | None, out: Path | None) -> None:
    """Name all that is missing at once; one picture of photo, sketch and mask needs no --mask and --sketch."""
    given = {"PHOTO": photo, "--mask MASK": mask, "--sketch SKETCH": sketch, "-o OUT": out}
    missing = [name for name, value in given.items() if value is None]
    if not missing or (photo is not None and out is not None and mask is None and sketch is None):
        return
    named = f"{', '.join(missing[:-1])} and {missing[-1]} are" if len(missing) > 1 else f"{missing[0]} is"
    raise UsageError(f"{named} missing; run `dps edit PHOTO --mask MASK --sketch SKETCH -o OUT`")


def _check_out(out: Path | None) -> Path:
    if out is None:
        raise UsageError("-o OUT is missing: name the folder for the results")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; -o takes a folder")
    return out


def _repeat(path: Path, out: Path | None, weights: str | None, command: str) -> None:
    stored: StoredRun = read_stored_run(path)
    if stored.request.command != command:
        raise UsageError(f"{path} is a run of `dps {stored.request.command}`; repeat it with that command")
    moved = None if weights is None else choose_weights(weights, stored.request.task)
    folder = path if path.is_dir() else path.parent
    _run(stored.request, stored.inputs, _check_out(folder if out is None else out), stored, moved)


def _run(
    request: EditRequest,
    inputs: dict[str, InputFile],
    out: Path,
    stored: StoredRun | None = None,
    moved_weights: str | None = None,
) -> None:
    from models.editing.run import make_run, versions, write_run

    if stored is not None and stored.versions != versions():
        typer.echo("note: the run was made by other versions, so its bytes may differ a little", err=True)
    contents, notes = make_run(request, inputs, None if stored is None else stored.weights_sha256, moved_weights)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    if stored is None and (out / RUN_FILE).is_file():
        typer.echo(f"note: the edit that was in {out} is replaced", err=True)
    write_run(out, contents)
    count = len(request.levels)
    typer.echo(f"{count} level{'s' if count > 1 else ''} in {out}; side by side: {out / 'strip.png'}")


def inspect_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A PNG or JPEG that may have been edited.")],
) -> None:
    """Show the mark of an edited picture.

    Hole, level and weights too if its run.json is beside it.

    Exit code 3 if there is no mark.
    """
    from models.editing.provenance import inspect_file

    mark, lines = inspect_file(file)
    if mark is None:
        raise FindingsError(
            f"{file}: no mark of an edit; it was not made here, or the mark was left out or lost on the way"
        )
    for line in lines:
        typer.echo(line)
