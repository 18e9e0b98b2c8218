"""Where weights lie on this machine: the cache folder, hashes, our files and their cards.

    HOME/weights/NAME.safetensors   the tensors
    HOME/weights/NAME.json          the card: SHA-256, source, licence; without it the tensors do not count as installed
    HOME/downloads/                 files on their way in, and those that failed their check (`.bad`)

HOME is the environment variable DPS_HOME, or the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsdata.contracts import EnvironmentFailure
from dpsdata.runtime.files import atomic_path, write_failure, write_text_atomic

if TYPE_CHECKING:
    from torch import Tensor

_CARD_BYTES_LIMIT = 1_000_000
_SETTLED_NS = 2_000_000_000
_hashed: dict[tuple[int, ...], str] = {}


def home_folder() -> Path:
    """The folder of everything that is kept between runs: DPS_HOME, or the user's cache folder."""
    named = os.environ.get("DPS_HOME")
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("deep-plastic-surgery"))


def make_folder(name: str) -> Path:
    """Return HOME/name, made where it is missing."""
    folder = home_folder() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EnvironmentFailure(f"{folder}: cannot make this folder ({reason}); set DPS_HOME to another one") from None
    return folder


def tensors_path(name: str) -> Path:
    """Where the tensors of a weight file lie, or would lie."""
    return home_folder() / "weights" / f"{name}.safetensors"


def card_path(name: str) -> Path:
    """Where the card of a weight file lies, or would lie."""
    return home_folder() / "weights" / f"{name}.json"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits; this process hashes a file once, as long as nobody writes to it."""
    try:
        with path.open("rb") as stream:
            about = os.fstat(stream.fileno())
            key = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            if key in _hashed:
                return _hashed[key]
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            # A file of just now may be written again within the same tick of the clock.
            if time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > _SETTLED_NS:
                _hashed[key] = found
            return found
    except OSError as error:
        raise EnvironmentFailure(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write tensors and their card as one safetensors file, atomically; the same input gives the same bytes."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    whole = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    # One metadata entry only: safetensors writes several in an order that changes from run to run.
    metadata = {"card": json.dumps(dict(card), sort_keys=True)}
    with atomic_path(path) as temporary:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode  # of any new file here; safetensors would keep it from everybody else
        try:
            save_file(whole, temporary, metadata)  # not `save`, which holds everything once more
            temporary.chmod(mode)
        except SafetensorError as error:
            raise EnvironmentFailure(
                f"{path}: cannot write this file: {error}; free some space or choose another folder"
            ) from None


def read_card(name: str) -> dict[str, Any] | None:
    """Return the card of an installed file; None where it is not installed or the card is unreadable."""
    path = card_path(name)
    try:
        if not tensors_path(name).is_file() or path.stat().st_size > _CARD_BYTES_LIMIT:
            return None
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return card if isinstance(card, dict) and isinstance(card.get("sha256"), str) else None


def install(name: str, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> dict[str, Any]:
    """Put tensors into the cache under a name and write their card; a kill in between leaves them not installed."""
    make_folder("weights")
    path = tensors_path(name)
    try:
        card_path(name).unlink(missing_ok=True)
    except OSError as error:
        raise write_failure(card_path(name), error) from error
    write_safetensors(path, tensors, card)
    whole = {**card, "name": name, "file": path.name, "sha256": sha256_file(path), "size": path.stat().st_size}
    write_text_atomic(card_path(name), json.dumps(whole, indent=2, sort_keys=True) + "\n")
    return whole


def set_aside(path: Path, final_name: str | None = None) -> Path:
    """Rename a file that failed its check to `NAME.bad`, so that it is neither used nor lost."""
    bad = path.with_name(f"{final_name or path.name}.bad")
    try:
        path.replace(bad)
    except OSError as error:
        raise write_failure(bad, error) from error
    return bad
