"""Methods of other people: a command that is run on files, or an object of an installed package.

Neither sees what lies in the hole, and neither can write anywhere but into its own output.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsdata.contracts import BrokenImageError, DpsError, UsageError
from dpsdata.images.codec import encode_png, photo_to_tensor, read_photo, tensor_to_photo
from models.methods.predictor import LoadOptions, MethodProvenance, Painting, check_baseline_precision
from models.methods.registry import Method, find_entry_point, load_object

HIDDEN_GREY: Final = 128  # what a hole is filled with before anybody else sees the photo
FOLDER_PHOTOS: Final = 500  # in one call of a command that takes folders; they are all held in memory
_MAX_BYTES = 256 * 2**20
_MAX_REASON = 200
_TAIL_BYTES = 4096

Photo = NDArray[np.uint8]


class ExternalMethod(Protocol):
    """What an entry point of the group `dps.methods` names: an object, or a class that is called without arguments.

    Attributes:
        name: of the method, the same as that of the entry point.
        takes_level: whether it follows the refinement level.
    """

    name: str
    takes_level: bool

    def predict(self, photo: Photo, mask: Photo, sketch: Photo, level: float | None) -> Photo:
        """Fill a hole.

        Args:
            photo: uint8 RGB (H, W, 3), mid grey in the hole.
            mask: uint8 (H, W), 255 in the hole, else 0.
            sketch: uint8 (H, W), 0 on a one-pixel line, else 255.
            level: refinement level in [0, 1]; None for a method that takes none.

        Returns:
            uint8 RGB (H, W, 3); only its hole is used.
        """


class ExternalPredictor:
    """A foreign method behind the protocol of all methods; a photo that fails is named, and the others go on.

    Args:
        method: what the registry knows of it.
        fill: (ids, photos (N, H, W, 3), masks (N, H, W), sketches (N, H, W), level) to a photo or a reason for each.
        provenance: what a comparison states of it.
        photos_per_call: how many photos it is best given at once; None for any number.
    """

    resolution: int | None = None

    def __init__(
        self,
        method: Method,
        fill: Callable[[Sequence[str], Photo, Photo, Photo, float | None], list[Photo | str]],
        provenance: MethodProvenance,
        photos_per_call: int | None = None,
    ) -> None:
        self.method, self.provenance, self.photos_per_call = method, provenance, photos_per_call
        self.device = torch.device("cpu")
        self._fill = fill

    def predict(self, photo: Tensor, sketch: Tensor, mask: Tensor, ids: Sequence[str], level: float | None) -> Painting:
        """See `MethodPredictor.predict`; photos that failed are grey in the hole and named in `Painting.failed`."""
        holes = mask[:, 0].cpu().numpy() == 1
        photos = np.where(holes[..., None], HIDDEN_GREY, tensor_to_photo(photo)).astype(np.uint8)
        lines = sketch[:, 0].cpu().numpy() > 0.5
        found = self._fill(ids, photos, holes.astype(np.uint8) * 255, np.where(lines, 0, 255).astype(np.uint8), level)
        failed: dict[str, str] = {}
        for index, (name, item) in enumerate(zip(ids, found, strict=True)):
            reason = item if isinstance(item, str) else check_output(item, photos.shape[1:3])
            if reason:
                failed[name] = reason
            else:
                photos[index] = item
        return Painting(photo_to_tensor(photos), failed=failed)


def check_output(pixels: Any, size: tuple[int, ...]) -> str:
    """Why something is no filled photo of this height and width; "" where it is one."""
    if not isinstance(pixels, np.ndarray):
        return f"it returned {type(pixels).__name__}, expected a uint8 array ({size[0]}, {size[1]}, 3)"
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        return f"it returned {pixels.dtype} {pixels.shape}, expected uint8 ({size[0]}, {size[1]}, 3)"
    if pixels.shape[:2] != tuple(size):
        return f"it made {pixels.shape[1]} x {pixels.shape[0]} px, expected {size[1]} x {size[0]} px"
    return ""


def load_command(method: Method, options: LoadOptions) -> ExternalPredictor:
    """A command line as a method; see `models.methods.registry.find_method` for what may stand in it.

    Raises:
        UsageError: there is no such program, or a precision that no baseline runs in.
    """
    check_baseline_precision(method, options.precision)
    words = shlex.split(method.command)
    if shutil.which(words[0]) is None:
        raise UsageError(f"{method.name}: exec: there is no program {words[0]!r} here")
    command = Command(words, options.time_limit_s)
    takes_folders = "{photos}" in method.command
    provenance = MethodProvenance(
        "external command",
        {},
        "",
        "8-bit photo, mid grey in the hole, mask and one-pixel sketch as PNG files",
        depends_on={"command": method.command},
    )
    fill = command.fill_folder if takes_folders else command.fill_each
    return ExternalPredictor(method, fill, provenance, FOLDER_PHOTOS if takes_folders else None)


class Command:
    """Runs a program on files of its own temporary folder.

    Args:
        words: program and arguments, with placeholders.
        time_limit_s: seconds that a photo may take, on average where a call gets many.
    """

    def __init__(self, words: Sequence[str], time_limit_s: float) -> None:
        self.words, self.time_limit_s = list(words), time_limit_s

    def fill_each(
        self, ids: Sequence[str], photos: Photo, masks: Photo, sketches: Photo, level: float | None
    ) -> list[Photo | str]:
        """One call a photo; what a call that failed has written does not count."""
        found: list[Photo | str] = []
        for index, item in enumerate(ids):
            reason, made = self._call([item], photos[[index]], masks[[index]], sketches[[index]], level)
            found.append(reason or made[0])
        return found

    def fill_folder(
        self, ids: Sequence[str], photos: Photo, masks: Photo, sketches: Photo, level: float | None
    ) -> list[Photo | str]:
        """One call for all photos; after a crash in the middle, what was written before counts."""
        reason, found = self._call(ids, photos, masks, sketches, level)
        return [f"{reason}; {item}" if reason and isinstance(item, str) else item for item in found]

    def _call(
        self, ids: Sequence[str], photos: Photo, masks: Photo, sketches: Photo, level: float | None
    ) -> tuple[str, list[Photo | str]]:
        """What went wrong, or "", and the outputs; all are files of the same name, ID.png, in four folders."""
        with tempfile.TemporaryDirectory(prefix="dps-exec-") as folder:
            place = Path(folder).resolve()
            for name, planes in (("photos", photos), ("masks", masks), ("sketches", sketches)):
                (place / name).mkdir()
                for item, pixels in zip(ids, planes, strict=True):
                    (place / name / f"{item}.png").write_bytes(encode_png(pixels))
            (place / "outs").mkdir()
            folders = {"photo": "photos", "mask": "masks", "sketch": "sketches", "out": "outs"}
            values = {name: str(place / name) for name in folders.values()}
            values |= {name: str(place / kept / f"{ids[0]}.png") for name, kept in folders.items()}
            with _OutputFolder(place / "outs") as outputs:
                reason = self._run(place, values, level, self.time_limit_s * len(ids))
                return reason, [outputs.read(f"{item}.png") for item in ids]

    def _run(self, place: Path, values: Mapping[str, str], level: float | None, limit_s: float) -> str:
        """Run once; "" where it ended well, else what happened."""
        filled = {**values, "level": "" if level is None else f"{level:g}"}
        words = [re.sub(r"\{(\w+)\}", lambda found: filled[found[1]], word) for word in self.words]
        # A file, and no pipe: what it leaves running in the background must not hold us up.
        with (place / "said.txt").open("w+b") as said:
            try:
                process = subprocess.Popen(  # noqa: S603 (what was typed, split into words; no shell)
                    words, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
                )
            except OSError as error:
                return f"it could not be started: {error.strerror}"
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return f"it took more than {limit_s:g} s and was stopped"
            finally:
                _end_group(process)
            return "" if code == 0 else f"it ended with exit code {code}{_last_words(said)}"


class _OutputFolder:
    """Reads plain files out of one folder that is held open; no link and no other folder in its place is followed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> _OutputFolder:
        self._folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)

    def read(self, name: str) -> Photo | str:
        """A picture, or why there is none."""
        try:
            status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            moved = "" if self._is_there() else "; the folder of outputs was moved away or is a link now"
            return f"it wrote no output{moved}"
        if stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 1):
            return "its output is a link, expected a file"
        if not stat.S_ISREG(status.st_mode):
            return "its output is not a regular file"
        if status.st_size > _MAX_BYTES:
            return f"its output has {status.st_size:,} bytes, at most {_MAX_BYTES:,} are read"
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder)
        with os.fdopen(file, "rb") as stream:
            data = stream.read(_MAX_BYTES)
        try:
            return read_photo(data)
        except BrokenImageError as error:
            return f"its output is no picture: {error}"

    def _is_there(self) -> bool:
        try:
            now = self._path.lstat()
        except OSError:
            return False
        return os.path.samestat(now, os.fstat(self._folder))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the program with everything that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _TAIL_BYTES))
    lines = [line.strip() for line in said.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return f": {lines[-1][:_MAX_REASON]}" if lines else ""


def load_entry_point(method: Method, options: LoadOptions) -> ExternalPredictor:
    """An object of an installed package as a method.

    Raises:
        UsageError: it cannot be loaded, or has no `predict`.
    """
    check_baseline_precision(method, options.precision)
    point = find_entry_point(method.name)
    found = load_object(point)
    try:
        thing: ExternalMethod = found() if isinstance(found, type) else found
    except Exception as error:
        raise UsageError(f"{method.name}: {point.value} could not be made: {_say(error)}") from error
    if not callable(getattr(thing, "predict", None)):
        raise UsageError(f"{method.name}: {point.value} has no method predict(photo, mask, sketch, level)")

    def fill(
        ids: Sequence[str], photos: Photo, masks: Photo, sketches: Photo, level: float | None
    ) -> list[Photo | str]:
        filled: list[Photo | str] = []
        for index in range(len(ids)):
            try:
                made: Any = thing.predict(photos[index].copy(), masks[index].copy(), sketches[index].copy(), level)
            except Exception as error:  # of code that is not ours; the other photos go on
                filled.append(_say(error))
            else:
                filled.append(f"it returned {made!r}"[:_MAX_REASON] if isinstance(made, str) else made)
        return filled

    package = point.dist
    provenance = MethodProvenance(
        "installed package",
        {},
        _licence_of(package.metadata.json) if package else "",
        "8-bit photo, mid grey in the hole, mask and one-pixel sketch",
        depends_on={"package": f"{package.name} {package.version}" if package else "", "object": point.value},
    )
    return ExternalPredictor(method, fill, provenance)


def _licence_of(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("license_expression") or metadata.get("license") or "")[:_MAX_REASON]


def _say(error: Exception) -> str:
    text = str(error) if isinstance(error, DpsError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:_MAX_REASON]
