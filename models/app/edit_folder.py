"""Edit folders in and out of the browser as one zip; `dps edit --from` repeats what is in it, byte for byte."""

from __future__ import annotations

import io
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from dpsdata.contracts import RUN_FILE, MissingError, UsageError
from dpsdata.images.header import MAX_FILE_BYTES
from models.editing.request import INPUTS_FOLDER, StoredRun, read_stored_run

_MAX_MEMBERS = 10_000
_INPUT_NAME = re.compile(r"(photo|sketch|mask)\.[a-z]{3,4}")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_edit(contents: Mapping[str, bytes], folder: str) -> bytes:
    """A zip of one folder, always the same bytes for the same files.

    Args:
        contents: by path inside the folder.
        folder: its name.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:  # pictures are compressed already
        for name, data in contents.items():
            entry = zipfile.ZipInfo(f"{folder}/{name}", _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return packed.getvalue()


def open_edit(files: Iterable[tuple[str, bytes]]) -> StoredRun:
    """Read an edit folder that was saved: its zip, or the files of the unpacked folder.

    Only `run.json` and the pictures of `inputs` are taken, by fixed names, whatever paths stand in the zip.

    Args:
        files: (name, content) as they were uploaded.

    Raises:
        UsageError: it is no edit folder, or a part of it is missing, changed or too large.
    """
    given = list(files)
    if len(given) == 1 and not given[0][0].lower().endswith(".json"):
        taken = _unpack(given[0][1])
    else:
        taken = _collect((name, name, data) for name, data in given)
    if RUN_FILE not in taken:
        raise UsageError(
            f"There is no {RUN_FILE} in it. Choose the zip that Save edit wrote, or all files of its folder."
        )
    with tempfile.TemporaryDirectory(prefix="dps-app-") as place:
        (Path(place) / INPUTS_FOLDER).mkdir()
        for name, data in taken.items():
            (Path(place) / name).write_bytes(data)
        try:
            stored = read_stored_run(Path(place))
        except MissingError as error:
            reason = str(error).replace(f"{place}/", "").split("; ")[0]
            raise UsageError(f"This edit cannot be opened: {reason}.") from None
    if stored.request.command != "edit" or "photo" not in stored.inputs:
        raise UsageError("This is a run of `dps synthesize`, which has no photo; the editor opens those of `dps edit`.")
    return stored


def _unpack(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise UsageError("This zip holds more files than any edit folder.")
            wanted = []
            for member in members:
                path = PurePosixPath(member.filename.replace("\\", "/"))
                kind = stat.S_IFMT(member.external_attr >> 16)
                if not member.is_dir() and kind in (0, stat.S_IFREG) and _target(path) is not None:
                    wanted.append((member, str(path)))
            return _collect((name, name, _read(archive, member)) for member, name in wanted)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("This file is not a readable zip. Choose the zip that Save edit wrote.") from None


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The sizes in a zip's headers are claims, so the bytes are counted as they come."""
    with archive.open(member) as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"{PurePosixPath(member.filename).name[:80]} in this zip is larger than any photo.")
    return data


def _collect(entries: Iterable[tuple[str, str, bytes]]) -> dict[str, bytes]:
    taken: dict[str, bytes] = {}
    total = 0
    for name, _, data in entries:
        target = _target(PurePosixPath(name), is_flat=True)
        if target is None:
            continue
        total += len(data)
        if target in taken:
            raise UsageError("There are several edits in it. Open one at a time.")
        if total > MAX_FILE_BYTES:
            raise UsageError("The pictures in it are larger than any edit.")
        taken[target] = data
    return taken


def _target(path: PurePosixPath, is_flat: bool = False) -> str | None:
    """The place of a file of an edit folder; None for results and everything else."""
    if path.name == RUN_FILE:
        return RUN_FILE
    if _INPUT_NAME.fullmatch(path.name) and (is_flat or path.parent.name == INPUTS_FOLDER):
        return f"{INPUTS_FOLDER}/{path.name}"
    return None
