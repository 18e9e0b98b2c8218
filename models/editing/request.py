"""What an edit was asked for, as `run.json` keeps it; the file is read back as something that others may have written.

Nothing heavy is imported, so that `--help` starts fast.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from dpsdata.contracts import IMAGE_SUFFIXES, RUN_FILE, SCHEMA_VERSION, MissingError, UsageError, check_levels

Blend = Literal["none", "feather", "poisson"]

INPUTS_FOLDER = "inputs"
FEATHER_PX = 8.0
_MAX_BYTES = 2**20
_MAX_LEVELS = 100
_TASKS = {"edit": "edit", "synthesize": "synthesis"}


def check_blend(blend: str, feather_px: float) -> Blend:
    """Return the way of blending.

    Raises:
        UsageError: it is none, or does not fit the width of the feather, px.
    """
    if blend not in get_args(Blend):
        raise UsageError(f"blend: expected {', '.join(get_args(Blend)[:-1])} or poisson, got {blend!r}")
    if blend == "poisson" and feather_px:
        raise UsageError("--feather is the width of --blend feather; leave it out for --blend poisson")
    if blend == "feather" and not feather_px:
        raise UsageError("--blend feather needs a width: pass --feather PX, over 0")
    return blend  # type: ignore[return-value]


@dataclass(frozen=True)
class EditRequest:
    """The options of one run.

    Attributes:
        command: `edit` or `synthesize`.
        levels: refinement levels in [0, 1].
        weights: `bundled`, `official` or a folder.
        align: `auto` or `none`.
        box: left, top, width, height in px of the square to edit.
        eyes: x1, y1, x2, y2 in px of the eye centres.
        feather_px: width of the soft transition inside of the hole, px.
        invert_mask: the mask's black is the hole.
        device: where the networks run.
        precision: `fp32` or `bf16`.
        blend: `none`, `feather` or `poisson`.
        grain: the hole gets the fine noise of the photo around it.
        provenance: pictures say that they were edited; see `models.editing.provenance`.
    """

    command: str
    levels: tuple[float, ...]
    weights: str = "bundled"
    align: str = "auto"
    box: tuple[float, ...] | None = None
    eyes: tuple[float, ...] | None = None
    feather_px: float = 0.0
    invert_mask: bool = False
    device: str = "cpu"
    precision: str = "fp32"
    blend: Blend = "none"
    grain: bool = False
    provenance: bool = True

    def __post_init__(self) -> None:
        if self.command not in _TASKS:
            raise UsageError(f"command: expected edit or synthesize, got {self.command!r}")
        if not 1 <= len(self.levels) <= _MAX_LEVELS:
            raise UsageError(f"levels: expected 1 to {_MAX_LEVELS} numbers in [0, 1], got {len(self.levels)}")
        if len(check_levels(self.levels)) < len(self.levels):
            raise UsageError(f"levels: expected each level once, got {list(self.levels)}")
        if self.align not in ("auto", "none"):
            raise UsageError(f"align: expected auto or none, got {self.align!r}")
        if self.box is not None and self.eyes is not None:
            raise UsageError("--box and --eyes exclude each other: give one of them")
        if not 0 <= self.feather_px <= 1000:
            raise UsageError(f"feather: expected 0 to 1000 px, got {self.feather_px!r}")
        check_blend(self.blend, self.feather_px)

    @property
    def task(self) -> str:
        """`edit` or `synthesis`."""
        return _TASKS[self.command]


@dataclass(frozen=True)
class InputFile:
    """One file that a run reads.

    Attributes:
        name: in the run's folder.
        data: its content.
        source: the path that was typed; empty where there was none.
    """

    name: str
    data: bytes
    source: str = ""

    @property
    def sha256(self) -> str:
        """64 hex digits of the content."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class StoredRun:
    """A `run.json` that was read, its inputs checked.

    Attributes:
        request: the options.
        inputs: the files by role: photo, sketch, mask.
        config: the options as they are stored.
        weights_sha256: of every network.
        versions: of what made it.
    """

    request: EditRequest
    inputs: dict[str, InputFile]
    config: dict[str, Any]
    weights_sha256: dict[str, str]
    versions: dict[str, str]


def read_input(role: str, path: Path) -> InputFile:
    """Read a whole input file, to be copied under its role and own suffix.

    Raises:
        UsageError: there is no such file, or it is too large or no ordinary file.
    """
    from dpsdata.contracts import BrokenImageError
    from dpsdata.images.header import open_source

    try:
        with open_source(path) as stream:
            data = stream.read()
    except BrokenImageError as error:
        raise UsageError(f"{path}: {error}; pass the {role} as an image file") from None
    suffix = path.suffix.lower()
    return InputFile(f"{INPUTS_FOLDER}/{role}{suffix if suffix in IMAGE_SUFFIXES else '.img'}", data, str(path))


def read_stored_run(path: Path) -> StoredRun:
    """Read the `run.json` of a run, with the inputs beside it.

    Raises:
        MissingError: it is missing, damaged or of another kind, or an input is missing or was changed.
    """
    if path.is_dir():
        path = path / RUN_FILE
    try:
        if path.stat().st_size > _MAX_BYTES:
            _fail(path, "larger than any run.json")
        stored = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        _fail(path, f"cannot be read ({error.strerror})")
    except (ValueError, RecursionError):
        _fail(path, "no JSON")
    if not isinstance(stored, dict) or stored.get("schema_version") != SCHEMA_VERSION:
        _fail(path, f"expected schema_version {SCHEMA_VERSION}")
    config, inputs = stored.get("config"), stored.get("inputs")
    if not isinstance(config, dict) or not isinstance(inputs, dict) or not inputs:
        _fail(path, "without config or inputs")
    return StoredRun(
        _request(path, config),
        {role: _stored_input(path, role, entry) for role, entry in inputs.items()},
        config,
        _texts(stored.get("weights")),
        _texts(stored.get("versions")),
    )


def _request(path: Path, config: Mapping[str, Any]) -> EditRequest:
    kinds: dict[str, tuple[type, ...]] = {
        "command": (str,),
        "weights": (str,),
        "align": (str,),
        "device": (str,),
        "precision": (str,),
        "levels": (tuple,),
        "box": (tuple, type(None)),
        "eyes": (tuple, type(None)),
        "feather_px": (int, float),
        "invert_mask": (bool,),
        "blend": (str,),
        "grain": (bool,),
        "provenance": (bool,),
    }
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    values = {"blend": "none", "grain": False, "provenance": True, **values}  # runs of 0.1.0 pasted as it is
    if set(values) != {item.name for item in fields(EditRequest)}:
        _fail(path, "its config has other options than this version")
    for key, value in values.items():
        numbers = value if isinstance(value, tuple) else ()
        if not isinstance(value, kinds[key]) or not all(type(item) in (int, float) for item in numbers):
            _fail(path, f"its {key} is {str(value)[:80]}")
        if key in ("box", "eyes") and isinstance(value, tuple) and len(value) != 4:
            _fail(path, f"its {key} has not four numbers")
    try:
        return EditRequest(**values)
    except UsageError as error:
        _fail(path, str(error))


def _stored_input(path: Path, role: str, entry: Any) -> InputFile:
    name = entry.get("file") if isinstance(entry, dict) else None
    names = [f"{INPUTS_FOLDER}/{role}{suffix}" for suffix in (*IMAGE_SUFFIXES, ".img")]
    if role not in ("photo", "sketch", "mask") or name not in names:
        _fail(path, f"its inputs name {str(name)[:80]!r}")
    try:
        found = InputFile(name, read_input(role, path.parent / name).data)
    except UsageError as error:
        raise MissingError(f"{error}; run the command with all options instead") from None
    if found.sha256 != entry.get("sha256"):
        raise MissingError(
            f"{path.parent / name}: SHA-256 {found.sha256}, but {RUN_FILE} says {str(entry.get('sha256'))[:64]}; "
            "the file was changed, so run the command with all options instead"
        )
    return found


def _texts(values: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else {}


def _fail(path: Path, reason: str) -> NoReturn:
    raise MissingError(f"{path}: {reason}; pass the {RUN_FILE} that `dps edit` wrote")
