"""Opens weight files that came from somewhere else: told apart by content, read without running any of it."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dpsdata.contracts import EnvironmentFailure, MissingError

if TYPE_CHECKING:
    from torch import Tensor

FILE_BYTES_LIMIT = 2 * 1024**3
Kind = Literal["torch", "safetensors", "pickle", "zip", "tar", "gzip", "web page", "git-lfs pointer", "empty", "other"]

# Protocol-2 pickle of the number 0x1950a86a20f9469cfc6c: how torch.save began every file before torch 1.6.
_TORCH_LEGACY_START = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_SAFETENSORS_HEADER_LIMIT = 100_000_000
# The list of hashes beside networks that were exported or are bundled.
HASHES_FILE = "bundled.json"
_HASHES_BYTES_LIMIT = 1_000_000
# What training programs wrap a state dict in, averaged weights first, and put before each of its keys.
_NESTS = ("params_ema", "model_ema", "state_dict_ema", "ema_state_dict", "ema", "g_ema",
          "state_dict", "model_state_dict", "model", "params", "net")  # fmt: skip
_PREFIXES = ("module.", "model.", "net.", "generator.", "params_ema.", "state_dict.", "ema_model.", "ema.")
_COMPILED = "_orig_mod."  # torch.compile puts it before the keys of each part that it compiled
_UNKNOWN_CLASS = re.compile(r"GLOBAL ([\w.]{1,200})")
_REASONS: dict[str, str] = {
    "pickle": "it is a plain Python pickle, which could run code when opened, so it is not read",
    "zip": "it is an archive, not a weight file",
    "tar": "it is an archive, not a weight file",
    "gzip": "it is a compressed archive, not a weight file",
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
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
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
        MissingError: it is one of the two, but damaged, unsafe, or not what the list of hashes beside it says.
    """
    kind = kind or sniff(path)
    check_listed_hash(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    if kind == "torch":
        return _read_torch(path)
    advice = (
        "unpack it or run `dps weights import FILE`"
        if kind in ("zip", "tar", "gzip")
        else "`dps weights list` says where to get weights"
    )
    raise UnrecognisedError(f"{path}: {_REASONS[kind]}; {advice}")


def find_form(state: Mapping[Any, Any], is_known: Callable[[Mapping[str, Any]], bool] | None = None) -> dict[str, Any]:
    """The state dict inside what a training program stored: out of its wrapping, without the prefixes of its keys.

    Args:
        state: what the file holds.
        is_known: whether keys are those of the wanted network; None where no key of it begins with such a prefix.

    Returns:
        The first form that is known, from the outer to the inner; the innermost where none is.
    """
    forms = list(_forms(state))
    return next((form for form in forms if is_known is not None and is_known(form)), forms[-1])


def _forms(state: Mapping[Any, Any]) -> Iterator[dict[str, Any]]:
    for _ in range(len(_NESTS)):
        inner = next((state[nest] for nest in _NESTS if isinstance(state.get(nest), Mapping)), None)
        if inner is None:
            break
        state = inner
    flat = {str(key).replace(_COMPILED, ""): value for key, value in state.items()}
    yield flat
    while prefix := next((head for head in _PREFIXES if flat and all(key.startswith(head) for key in flat)), None):
        flat = {key.removeprefix(prefix): value for key, value in flat.items()}
        yield flat


def _check_members(path: Path) -> None:
    """Compare the check sum of every member of a torch zip, which torch itself does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            is_script = any(name.endswith("/constants.pkl") for name in archive.namelist())
    except Exception as error:  # zipfile and zlib answer damaged bytes with many exception types
        raise _damaged(path, "torch file", str(error)) from None
    if damaged is not None:
        raise _damaged(path, "torch file", f"the check sum of {damaged[:80]} does not fit")
    if is_script:
        raise _whole_model(path, "TorchScript", "torch.jit.load(FILE)")


def check_listed_hash(path: Path) -> None:
    """Compare a file with the list of hashes that an export wrote beside it, where there is one that names it.

    Raises:
        MissingError: the hash is another one, or the list is damaged.
    """
    listed = path.with_name(HASHES_FILE)
    try:
        with listed.open("rb") as stream:
            entries = json.loads(stream.read(_HASHES_BYTES_LIMIT))
        expected = {str(entry["file"]): str(entry["sha256"]) for entry in entries.values()}
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MissingError(f"{listed}: damaged; run `dps export` again, or copy the folder again") from None
    if path.name not in expected:
        return
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 != expected[path.name]:
        raise MissingError(
            f"{path}: SHA-256 {sha256}, but {listed.name} beside it says {expected[path.name]}; it is damaged or from "
            "another export: run `dps export` again, or copy the folder again"
        )


def take_tensors(
    state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], source: str, network: str, name: str
) -> dict[str, Tensor]:
    """The tensors of these keys and shapes out of a state dict, as float32 on the CPU; what else it holds is left out.

    Args:
        state: what a file holds.
        shapes: of the wanted tensors, by key.
        source: what to call the file in messages.
        network: whose tensors they are.
        name: registered name of the file, for the command that gets it again.

    Raises:
        MissingError: a tensor is missing, has another shape, or holds values that are not finite.
    """
    import torch

    tensors = {}
    for key, shape in shapes.items():
        value = state.get(key)
        if not isinstance(value, torch.Tensor) or tuple(value.shape) != shape or not value.is_floating_point():
            found = tuple(value.shape) if isinstance(value, torch.Tensor) else "nothing"
            raise MissingError(
                f"{source}: not {network}: {key} should be a float tensor of shape {shape}, found {found}; "
                f"run `dps weights get {name}`"
            )
        if not bool(torch.isfinite(value).all()):
            raise MissingError(f"{source}: {key} holds values that are not finite; run `dps weights get {name}`")
        tensors[key] = value.detach().cpu().float()
    return tensors


def _damaged(path: Path, kind: str, reason: str) -> MissingError:
    reason = reason.split("\n", 1)[0][:160] or "unreadable"
    return MissingError(
        f"{path}: a {kind} that is damaged ({reason}); get it again, then run `dps weights import FILE`"
    )


def _read_torch(path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    import torch

    if zipfile.is_zipfile(path):
        _check_members(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler answers damaged bytes with almost any exception type
        held = _UNKNOWN_CLASS.search(str(error))
        raise (_whole_model(path, held[1]) if held else _damaged(path, "torch file", str(error))) from None
    if not isinstance(loaded, Mapping):
        raise UnrecognisedError(
            f"{path}: a torch file with a {type(loaded).__name__} where a state dict was expected; "
            "save `network.state_dict()`, then run `dps weights import FILE`"
        )
    return loaded, {}


def _whole_model(path: Path, name: str, opened: str = "torch.load(FILE, weights_only=False)") -> MissingError:
    return MissingError(
        f"{path}: it holds Python objects ({name}), which could run code when opened, so it is not read; where the "
        f"code that wrote it is installed and trusted, run torch.save({opened}.state_dict(), NEW), or for a "
        'dictionary ["state_dict"] instead of .state_dict(); then pass NEW, or run `dps weights import NEW`'
    )


def _read_safetensors(path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as archive:
            tensors = {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118 (no mapping)
            metadata = archive.metadata() or {}
        card = json.loads(metadata.get("card", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise _damaged(path, "safetensors file", str(error)) from None
    return tensors, card if isinstance(card, dict) else {}


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read an unsigned varint of protobuf, of at most 64 bits, as two kinds of weight files hold them.

    Args:
        data: the bytes that hold it.
        at: where it starts.
        end: one past the last byte that it may use.

    Returns:
        The value, and where the next thing starts.

    Raises:
        ValueError: it is cut off or longer than 64 bits, which are ten bytes.
    """
    value = 0
    for shift, place in zip(range(0, 70, 7), range(at, end), strict=False):
        value |= (data[place] & 0x7F) << shift
        if data[place] < 0x80 and value < 1 << 64:
            return value, place + 1
    raise ValueError("a number in it is cut off or too long for ten bytes")
