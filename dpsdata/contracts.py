"""The contracts that all rooms share: tensors, file names, levels and how they are typed, error types, exit codes.

Nothing here imports torch or OpenCV, so that command lines start fast; tensors are checked through
the attributes they share with arrays (`shape`, `dtype`, `min`, `max`).

| what     | in memory                                          | on disk                        |
|----------|----------------------------------------------------|--------------------------------|
| photo    | (N, 3, H, W) float32 RGB in [-1, 1]; uint8 (N, H, W, 3) at the numpy doors | PNG or JPEG, upright RGB |
| sketch   | (N, 1, H, W) float32 in [0, 1], line = 1           | PNG, black line on white       |
| mask     | (N, 1, H, W) float32 in {0, 1}, hole = 1           | PNG, white = hole              |
| edge map | (N, 1, H, W) float32 in [0, 1], edge = 1           | 16-bit PNG, 65535 = edge       |
| level    | float or (N,) in [0, 1]; 0 follows the drawing     | folder `l0.25`                 |
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


RUN_FILE = "run.json"  # what a run says of itself, beside its outputs
NO_LEVEL = "none"  # folder of a method without a level
SCHEMA_VERSION = 1  # of every JSON file that is read again: what a later version cannot read gets another number
DEFAULT_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Names that are taken for images; the content decides.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib",
     ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".gif", ".avif", ".heic", ".heif", ".hif"}
)  # fmt: skip
EYE_CENTRES = ((94.8, 120.1), (157.3, 120.3))  # (x, y) in px of the CelebA-HQ frame of 256 px, left in the photo first


class ExitCode(IntEnum):
    """What a command's exit status means, the same in every room."""

    DONE = 0
    ENVIRONMENT = 1
    USAGE = 2
    FINDINGS = 3
    TOLERANCE = 4
    MISSING = 5
    INTERRUPTED = 130


class DpsError(Exception):
    """An expected failure: one clear sentence for the user, and the exit code that it ends with."""

    exit_code: ExitCode = ExitCode.ENVIRONMENT


class EnvironmentFailure(DpsError):  # noqa: N818 - `EnvironmentError` is a builtin
    """The machine is in the way: disk full, folder locked, no permission."""

    exit_code = ExitCode.ENVIRONMENT


class UsageError(DpsError, ValueError):
    """A wrong option, value, shape or range; says what was got and what was expected."""

    exit_code = ExitCode.USAGE


class FindingsError(DpsError):
    """Some items failed or a check found something; the rest of the work is done and kept."""

    exit_code = ExitCode.FINDINGS


class ToleranceError(DpsError):
    """Numbers are outside a stated tolerance."""

    exit_code = ExitCode.TOLERANCE


class MissingError(DpsError):
    """Weights or data are missing or corrupt; says which command gets them."""

    exit_code = ExitCode.MISSING


class BrokenImageError(DpsError):
    """One image cannot be read; the message is the reason that is written into `errors.csv`."""

    exit_code = ExitCode.FINDINGS


def _check_tensor(name: str, value: Any, channels: int, low: float, high: float) -> None:
    shape = tuple(value.shape)
    if len(shape) != 4 or shape[1] != channels:
        raise UsageError(f"{name}: expected shape (N, {channels}, H, W), got {shape}")
    if "float" not in str(value.dtype):
        raise UsageError(f"{name}: expected a float tensor, got {value.dtype}")
    if math.prod(shape) == 0:
        raise UsageError(f"{name}: expected at least one pixel, got shape {shape}")
    smallest, largest = float(value.min()), float(value.max())
    if not (smallest >= low - 1e-4 and largest <= high + 1e-4):  # written so that NaN fails too
        raise UsageError(f"{name}: expected values in [{low:g}, {high:g}], got [{smallest:g}, {largest:g}]")


def check_photo(photo: Tensor) -> None:
    """Raise UsageError unless `photo` is (N, 3, H, W) float RGB in [-1, 1]."""
    _check_tensor("photo", photo, 3, -1.0, 1.0)


def check_sketch(sketch: Tensor) -> None:
    """Raise UsageError unless `sketch` is (N, 1, H, W) float in [0, 1]."""
    _check_tensor("sketch", sketch, 1, 0.0, 1.0)


def check_edges(edges: Tensor) -> None:
    """Raise UsageError unless `edges` is (N, 1, H, W) float in [0, 1]."""
    _check_tensor("edges", edges, 1, 0.0, 1.0)


def check_mask(mask: Tensor) -> None:
    """Raise UsageError unless `mask` is (N, 1, H, W) float with values 0 (known) and 1 (hole) only."""
    _check_tensor("mask", mask, 1, 0.0, 1.0)
    soft = (mask != 0) & (mask != 1)
    if bool(soft.any()):
        raise UsageError(f"mask: expected only 0 (known) and 1 (hole), got {int(soft.sum())} values between")


def check_level(level: float) -> float:
    """Return the refinement level as a float; raise UsageError unless it lies in [0, 1]."""
    try:
        value = float(level)
    except (TypeError, ValueError):
        raise UsageError(f"level: expected a number in [0, 1], got {level!r}") from None
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"level: expected a number in [0, 1], got {level!r}")
    return value + 0.0  # -0 is 0


def check_levels(levels: Iterable[float]) -> tuple[float, ...]:
    """Levels in their order, each once; raise UsageError where a file name cannot tell two of them apart."""
    values = tuple(dict.fromkeys(map(check_level, levels)))
    seen: dict[str, float] = {}
    for value in values:
        name = level_folder(value)
        if name in seen:
            raise UsageError(f"levels: {seen[name]!r} and {value!r} would both be written as {name}; keep one")
        seen[name] = value
    return values


def level_folder(level: float) -> str:
    """Folder name of a refinement level: `l0`, `l0.025`, `l1`."""
    return f"l{check_level(level):g}"


def parse_level_folder(name: str) -> float:
    """Level of a folder name in any spelling of the number (`l0.5`, `l0.50`, `l.5`)."""
    if not re.fullmatch(r"l(\d+\.?\d*|\.\d+)(e-?\d+)?", name):
        raise UsageError(f"{name!r} is not a level folder: expected `l` and a number in [0, 1], such as l0.25")
    return check_level(float(name[1:]))


def hash_ids(ids: Iterable[str]) -> str:
    """SHA-256 of the sorted IDs, each followed by a line feed, in UTF-8; the order given does not matter."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(ids)).encode()).hexdigest()


def sample_id(relative_path: str) -> str:
    """ID of a sample: its path inside the source without the suffix, `/` as `__`, in Unicode NFC.

    Args:
        relative_path: path with `/` between its parts, relative to the source.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", relative_path))
    return "__".join(path.with_suffix("").parts)


LEVELS_TEXT = ",".join(f"{level:g}" for level in DEFAULT_LEVELS)


def split_words(text: str) -> tuple[str, ...]:
    """The words between commas, each once, in their order."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known name that is nearest to a mistyped one, as the beginning of a sentence; "" where none is near."""
    known = list(known)
    near = get_close_matches(word, known, 1) or [name for name in known if word and name.startswith(word)]
    return f"did you mean {near[0]}? " if near else ""


def parse_numbers(text: str, option: str, count: int | None = None) -> tuple[float, ...]:
    """Numbers comma-separated.

    Raises:
        UsageError: something else, or not `count` of them.
    """
    try:
        values = tuple(float(part) for part in text.removesuffix(",").split(","))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)) or count not in (None, len(values)):
        expected = "numbers" if count is None else f"{count} numbers"
        raise UsageError(f"{option}: expected {expected}, comma-separated, got {text!r}")
    return values


def parse_levels(text: str) -> tuple[float, ...]:
    """Refinement levels in [0, 1] comma-separated, each once, in their order; UsageError for anything else."""
    return check_levels(parse_numbers(text, "--levels"))


def typed_path(text: str) -> Path:
    """An absolute path, with `~` for the home folder; UsageError for the `~` of somebody who is not there."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise UsageError(f"{text}: there is no such home folder; write the path in full") from None
