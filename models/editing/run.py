"""One run of `dps edit` or `dps synthesize`: from options and files to a folder of results.

OUT/l0.25.png           results          OUT/refined/l0.25.png   refined sketches
OUT/refiner/l0.25.png   G's own photos   OUT/strip.png           side by side
OUT/inputs/             the files as they came, byte for byte
OUT/run.json            written last: options, hashes and versions, no times
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import dpsdata
from dpsdata.contracts import (
    RUN_FILE,
    SCHEMA_VERSION,
    FindingsError,
    MissingError,
    UsageError,
    level_folder,
    parse_level_folder,
)
from dpsdata.images.codec import encode_png
from dpsdata.images.photo_file import PhotoFile, PhotoMetadata
from dpsdata.runtime.files import write_bytes_atomic, write_failure
from dpsdata.sketch.reading import read_sketch_file
from dpsdata.weights.store import sha256_file
from models.editing.compositing import find_target
from models.editing.editor import Editor, EditResult, load_editor
from models.editing.loading import find_sources
from models.editing.photo_frame import NoFaceError
from models.editing.provenance import COMPOSITE, GENERATED, hash_request, write_mark
from models.editing.request import EditRequest, InputFile
from models.editing.user_inputs import EditInputs, find_hole, find_lines, read_edit_inputs
from models.networks.config import check_task

_STRIP_PX = 512
_STRIP_GAP_PX = 4
_CAPTION_PX = 20
_HOLE_GREY = 128

# The resolution of the published networks.
SHARP_PX = 256


def hash_weights(weights: str, task: str) -> dict[str, str]:
    """SHA-256 of the file of each network.

    Raises:
        MissingError: there are no such weights; the commands that help are named.
    """
    return {name: sha256_file(Path(path)) for name, path in sorted(find_sources(weights, check_task(task)).items())}


def versions() -> dict[str, str]:
    """Of all that the pixels depend on."""
    return {
        "deep-plastic-surgery": dpsdata.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def make_run(
    request: EditRequest,
    inputs: Mapping[str, InputFile],
    expected_weights: Mapping[str, str] | None = None,
    moved_weights: str | None = None,
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Do the edit.

    Args:
        request: the options.
        inputs: the files by role.
        expected_weights: SHA-256 by network that the weights must have; None for any.
        moved_weights: where the weights are now, if not where the request says.

    Returns:
        The content of each file of the folder, `run.json` as the last; and notes for the person.

    Raises:
        UsageError: an option or input breaks its contract.
        FindingsError: nothing is edited: no hole, none that a face's frame covers, no lines of a face, or a
            feather that leaves nothing.
        MissingError: the weights are missing, or others than expected.
    """
    weights = moved_weights or request.weights
    hashes = hash_weights(weights, request.task)
    if expected_weights is not None and dict(expected_weights) != hashes:
        raise MissingError(
            f"{weights}: these weights differ from those of the run; pass the folder of its weights "
            "to --weights, or run the command with all options instead"
        )
    edit = _read(request, inputs) if request.command == "edit" else None
    # One photo takes seconds; loading the networks does too, so wrong inputs are found before.
    sketch = None if edit else read_sketch_file(inputs["sketch"].data)
    if sketch is not None and sketch.pixels.min() > 127:
        raise FindingsError("the sketch has no lines, so there is no face to draw; draw dark lines on white paper")
    editor = load_editor(weights, request.task, request.device, request.precision)
    notes: tuple[str, ...]
    if edit is not None:
        _set_photo(editor, edit, request, "mask" not in inputs, inputs["photo"].source)
        results = editor.predict_levels(
            edit.sketch, edit.mask, request.levels, request.feather_px, request.blend, request.grain
        )
        is_same = all(np.array_equal(result.photo, edit.photo) for result in results)
        if is_same and request.feather_px:
            raise FindingsError(
                "no pixel of the photo would change, so nothing is edited: the hole is all feather; paint a larger "
                "one, or make --feather narrower"
            )
        notes = (*edit.notes, *_frame_notes(editor, request))
        if is_same:  # the edit of an edit, as what the hole held is never looked at
            notes = (*notes, "no pixel of the photo changes, as it is the result of this edit already")
        first = _marked_photo(edit)
        file = edit.file
    else:
        assert sketch is not None  # noqa: S101 (for the type checker)
        results = editor.predict_levels(sketch.pixels, None, request.levels)
        notes = sketch.notes
        first = np.stack([sketch.pixels] * 3, axis=2)
        file = None
    if weights == "bundled" and editor.resolution < SHARP_PX:
        notes = (*notes, f"the bundled networks work at {editor.resolution} px, so the result is soft")
    notes = (*notes, *editor.notes)
    contents = {item.name: item.data for item in inputs.values()}
    config, sha256 = asdict(request), {role: item.sha256 for role, item in sorted(inputs.items())}
    contents |= _pictures(results, first, file, hash_request(config, sha256, hashes) if request.provenance else None)
    described = {
        "schema_version": SCHEMA_VERSION,
        "config": config,
        "inputs": {role: {"file": inputs[role].name, "sha256": digest} for role, digest in sha256.items()},
        "weights": hashes,
        "frame": None if editor.frame is None else editor.frame.matrix,
        "notes": notes,
        "versions": versions(),
    }
    contents[RUN_FILE] = (json.dumps(described, indent=2, sort_keys=True) + "\n").encode()
    return contents, notes


def write_run(out: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files of a run, each atomically and `run.json` last; those of an older run there go.

    Raises:
        UsageError: files of these names lie there that no run wrote.
        EnvironmentFailure: the disk is full, or the folder cannot be written to.
    """
    is_ours = _is_run(out / RUN_FILE) or ((out / "refined").is_dir() and (out / "refiner").is_dir())
    taken = next((name for name in contents if (out / name).exists()), None)
    if taken is not None and not is_ours:
        raise UsageError(f"{out / taken} was not written by `dps edit` and would be overwritten; choose another -o")
    try:
        for name in ("inputs", "refined", "refiner"):
            (out / name).mkdir(parents=True, exist_ok=True)
        if (out / RUN_FILE).is_file():
            (out / RUN_FILE).unlink()
            for path in _own_files(out):
                if path.relative_to(out).as_posix() not in contents:
                    path.unlink()
    except OSError as error:
        raise write_failure(out, error) from error
    for name, data in contents.items():
        write_bytes_atomic(out / name, data)


def _is_run(path: Path) -> bool:
    """Whether it is the `run.json` of an edit, and none of `dps predict` or of a report."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"config", "inputs"} <= found.keys()


def _read(request: EditRequest, inputs: Mapping[str, InputFile]) -> EditInputs:
    if "photo" not in inputs:
        raise UsageError("an edit needs a photo")
    data = {role: item.data for role, item in inputs.items()}
    photo, sketch, mask = (
        inputs[role].source if role in inputs and inputs[role].source else f"the {role}"
        for role in ("photo", "sketch", "mask")
    )
    return read_edit_inputs(
        data["photo"], data.get("sketch"), data.get("mask"), request.invert_mask, (photo, sketch, mask)
    )


def _set_photo(editor: Editor, edit: EditInputs, request: EditRequest, is_panels: bool, source: str) -> None:
    box, eyes = request.box, request.eyes
    try:
        editor.set_photo(
            edit.photo,
            "none" if is_panels or request.align == "none" else "auto",
            None if box is None else (box[0], box[1], box[2], box[3]),
            None if eyes is None else (eyes[0], eyes[1], eyes[2], eyes[3]),
            edit.mask,
            edit.file.colors,
        )
    except NoFaceError as error:
        raise NoFaceError(f"{source}: {error}" if source else str(error)) from None
    hole = find_hole(edit.mask)
    if not hole.any():
        raise FindingsError("the mask has no hole, so nothing is edited; paint white what should change")
    if editor.frame is not None and find_target(hole, editor.frame, 0) is None:
        square = ",".join(f"{value:.0f}" for value in editor.frame.box)
        raise FindingsError(
            f"the hole is outside the face's frame (--box {square}), so nothing is edited; "
            "--box or --eyes moves the frame"
        )


def _pictures(
    results: list[EditResult], first: NDArray[np.uint8], file: PhotoFile | None, request_sha256: str | None
) -> dict[str, bytes]:
    """The files of results; photos carry what the person's own file says, the strip its colours, all of them the mark.

    Args:
        results: one for each level.
        first: uint8 (H, W, 3), the first picture of the strip.
        file: the photo; None for synthesis.
        request_sha256: for the mark; None to leave it out.
    """
    source = PhotoFile(pixels=first, layers=first) if file is None else file
    bare = PhotoMetadata(profile=source.metadata.profile)
    if request_sha256 is not None:
        kind = GENERATED if file is None else COMPOSITE
        source = source.with_xmp(write_mark(source.metadata.xmp, request_sha256, kind))
        bare = replace(bare, xmp=write_mark(None, request_sha256, kind))
    encode_photo, encode_strip = source.encode_edit, replace(source, metadata=bare).encode_plain
    contents = {}
    for result in results:
        name = f"{level_folder(result.level)}.png"
        contents[name] = encode_photo(result.photo)
        contents[f"refined/{name}"] = encode_png(result.refined_sketch)
        contents[f"refiner/{name}"] = encode_photo(result.refiner_photo)
    captions = ["sketch" if file is None else "hole and lines", *(f"level {result.level:g}" for result in results)]
    contents["strip.png"] = encode_strip(_strip([first, *(result.photo for result in results)], captions))
    return contents


def _marked_photo(edit: EditInputs) -> NDArray[np.uint8]:
    """The photo with its hole grey and the lines in it black."""
    photo, hole = edit.photo.copy(), find_hole(edit.mask) == 1
    photo[hole] = _HOLE_GREY
    photo[hole & (find_lines(edit.sketch)[0] == 1)] = 0
    return photo


def _strip(photos: list[NDArray[np.uint8]], captions: list[str]) -> NDArray[np.uint8]:
    """Pictures beside each other, each under its caption; none is larger than `_STRIP_PX` px."""
    height, width = photos[0].shape[:2]
    shrink = min(1.0, _STRIP_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    gap = np.full((_CAPTION_PX + size[1], _STRIP_GAP_PX, 3), 255, np.uint8)
    parts: list[NDArray[Any]] = []
    for photo, caption in zip(photos, captions, strict=True):
        small = photo if shrink == 1 else cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        head = np.full((_CAPTION_PX, size[0], 3), 255, np.uint8)
        cv2.putText(head, caption, (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
        parts += [gap, np.concatenate([head, small])]
    return np.concatenate(parts[1:], axis=1)


def _frame_notes(editor: Editor, request: EditRequest) -> tuple[str, ...]:
    frame = editor.frame
    if frame is None or frame.is_whole or request.box is not None or request.eyes is not None:
        return ()
    box = ",".join(f"{value:.0f}" for value in frame.box)
    return (f"a face was found; its square is --box {box}, pass --box with other numbers to move it",)


def _own_files(out: Path) -> list[Path]:
    found = [path for role in ("photo", "sketch", "mask") for path in sorted((out / "inputs").glob(f"{role}.*"))]
    for folder in (out, out / "refined", out / "refiner"):
        for path in sorted(folder.glob("l*.png")):
            try:
                parse_level_folder(path.stem)
            except UsageError:
                continue
            found.append(path)
    return found
