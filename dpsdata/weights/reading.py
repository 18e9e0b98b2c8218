"""Opens weight files that came from somewhere else: told apart by content, read without running any of it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dpsdata.contracts import EnvironmentFailure, MissingError

FILE_BYTES_LIMIT = 2 * 1024**3
Kind = Literal["torch", "safetensors", "pickle", "zip", "tar", "web page", "git-lfs pointer", "empty", "other"]

# Protocol-2 pickle of the number 0x1950a86a20f9469cfc6c: how torch.save began every file before torch 1.6.
_TORCH_LEGACY_START = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_SAFETENSORS_HEADER_LIMIT = 100_000_000
_REASONS: dict[str, str] = {
    "pickle": "it is a plain Python pickle, which could run code when opened, so it is not read",
    "zip": "it is an archive, not a weight file",
    "tar": "it is an archive, not a weight file",
    "web page": "it is a web page: the download saved a notice instead of the file",
    "git-lfs pointer": "it is a git-lfs pointer, not the file that it points at",
    "empty": "it is empty",
    "other": "it is neither a torch nor a safetensors file",
}


class UnrecognisedError(MissingError):
    """The file is not of the kind that this reader knows; another reader may know it."""


def sniff(path: Path) -> Kind:
    """Tell what a file is from its bytes; the suffix plays no part.

    Raises:
        MissingError: there is no such file, it is too large, or it is a zip that is cut off.
    """
    try:
        if not path.is_file():
            raise MissingError(
                f"{path}: there is no such file; `dps weights list` says what exists and where to get it"
            )
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise EnvironmentFailure(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from None
    if not head:
        return "empty"
    if head.startswith(b"PK\x03\x04"):
        return _sniff_zip(path)
    if head[257:262] == b"ustar":
        return "tar"
    if size > FILE_BYTES_LIMIT:
        raise MissingError(f"{path}: {size:,} bytes, more than any weight file that is known here; check the path")
    if head.startswith(_TORCH_LEGACY_START):
        return "torch"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= min(size - 8, _SAFETENSORS_HEADER_LIMIT):
        return "safetensors"
    if head.lstrip()[:1] == b"<":
        return "web page"
    if head.startswith(b"version https://git-lfs"):
        return "git-lfs pointer"
    return "other"


def _sniff_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info.file_size for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise MissingError(
            f"{path}: a zip or torch file that is cut off or damaged; get it again, then run `dps weights import FILE`"
        ) from None
    roots = {name.split("/", 1)[0] for name in members if name.endswith("/data.pkl") and name.count("/") == 1}
    if len(roots) != 1 or not all(name.startswith(f"{next(iter(roots))}/") for name in members):
        return "zip"
    if sum(members.values()) > FILE_BYTES_LIMIT:
        raise MissingError(f"{path}: unpacks to more than any weight file that is known here; check where it came from")
    return "torch"


def read_state(path: Path, kind: Kind | None = None) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Read a torch or safetensors file without running code from it.

    Args:
        path: the file.
        kind: what `sniff` said, where that is already known.

    Returns:
        The stored mapping (tensors on the CPU; torch files may nest more in it), and the card of our own files,
        empty for others.

    Raises:
        UnrecognisedError: the file is something else.
        MissingError: it is one of the two, but damaged or unsafe.
    """
    kind = kind or sniff(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    if kind == "torch":
        return _read_torch(path)
    advice = (
        "unpack it or run `dps weights import FILE`"
        if kind in ("zip", "tar")
        else "`dps weights list` says where to get weights"
    )
    raise UnrecognisedError(f"{path}: {_REASONS[kind]}; {advice}")


def _read_torch(path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler answers damaged bytes with almost any exception type
        reason = str(error).split("\n", 1)[0][:160] or type(error).__name__
        raise MissingError(
            f"{path}: a torch file that is damaged or holds more than tensors ({reason}); get it again, "
            "then run `dps weights import FILE`"
        ) from None
    if not isinstance(loaded, Mapping):
        raise UnrecognisedError(
            f"{path}: a torch file with a {type(loaded).__name__} where a state dict was expected; "
            "save `network.state_dict()`, then run `dps weights import FILE`"
        )
    return loaded, {}


def _read_safetensors(path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as archive:
            tensors = {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118 (no mapping)
            metadata = archive.metadata() or {}
        card = json.loads(metadata.get("card", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise MissingError(
            f"{path}: a safetensors file that is damaged ({str(error)[:160]}); get it again, "
            "then run `dps weights import FILE`"
        ) from None
    return tensors, card if isinstance(card, dict) else {}
