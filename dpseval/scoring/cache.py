"""Features on disk, under a hash of what they were computed from: a second run of the same images computes nothing.

    FOLDER/ab/abcd....features    one entry: magic, SHA-256 of the key and the tensors, the tensors as safetensors

The key holds the 8-bit pixels, the preprocessing, the weights and the dtype, so that an entry never goes stale; the
checksum tells a damaged entry, or one under a wrong name, which then counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.runtime.files import is_temporary_name, write_bytes_atomic
from dpsdata.weights.store import home_folder

Arrays = dict[str, npt.NDArray[Any]]

DEFAULT_LIMIT_BYTES = 4 * 1024**3
_ENTRY_BYTES_LIMIT = 64 * 1024**2
_MAGIC = b"DPSFEAT1"
_DIGEST_BYTES = 32
_SUFFIX = ".features"
_KEPT_SHARE = 0.8  # of the limit, after old entries went: so that not every write has to look for more
_STALE_SECONDS = 3600.0


def hash_pixels(pixels: npt.NDArray[Any]) -> str:
    """SHA-256 of an 8-bit image, its shape included.

    Raises:
        UsageError: the array is not uint8.
    """
    if pixels.dtype != np.uint8:
        raise UsageError(f"pixels: expected uint8, got {pixels.dtype}")
    digest = hashlib.sha256(f"{pixels.shape}\n".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def make_key(what: str, pixels_sha256s: str | Sequence[str], prep: str, weights_id: str, dtype: str) -> str:
    """The key of a cache entry, 64 hex digits; any difference in any part gives another one.

    Args:
        what: the network and what is taken from it, such as `inception-fid`.
        pixels_sha256s: `hash_pixels` of the image, or of each where the value depends on several (in order).
        prep: name of the preprocessing; empty where there is no choice.
        weights_id: SHA-256 of the weights.
        dtype: precision of the computation, such as `float32`.
    """
    images = [pixels_sha256s] if isinstance(pixels_sha256s, str) else list(pixels_sha256s)
    return hashlib.sha256(json.dumps([1, what, images, prep, weights_id, dtype]).encode()).hexdigest()


class FeatureCache:
    """Arrays by key in a folder of limited size; the entries that were used longest ago go first.

    A cache must not stop a measurement: where it cannot be written, it says so in `failure` and stops writing.

    Attributes:
        folder: where the entries lie; None where nothing is kept.
        hit_count: entries that were found.
        miss_count: entries that were not, the corrupt ones included.
        corrupt_count: entries whose checksum was wrong; they are removed.
        failure: the first reason why an entry could not be written, or None.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        *,
        enabled: bool = True,
    ) -> None:
        """Open a cache; nothing is read or made yet.

        Args:
            folder: where the entries lie; by default `features` in the cache folder of the product (DPS_HOME).
            limit_bytes: largest size of all entries together.
            enabled: False for a cache that keeps nothing and finds nothing.

        Raises:
            UsageError: a limit that is not positive.
        """
        if limit_bytes < 1:
            raise UsageError(f"limit_bytes: expected a positive size in bytes, got {limit_bytes}")
        self.folder = (home_folder() / "features" if folder is None else Path(folder)) if enabled else None
        self.hit_count = self.miss_count = self.corrupt_count = 0
        self.failure: str | None = None
        self._limit_bytes = limit_bytes
        self._used_bytes: int | None = None

    def _path(self, key: str) -> Path | None:
        if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
            raise UsageError(f"cache key: expected 64 hex digits, as `make_key` gives them, got {key!r}")
        return None if self.folder is None else self.folder / key[:2] / f"{key}{_SUFFIX}"

    def get(self, key: str) -> Arrays | None:
        """Return the arrays under a key; None where there are none, or where they are damaged and must be recomputed.

        Raises:
            UsageError: not a key of `make_key`.
        """
        path = self._path(key)
        data = None if path is None else _read(path)
        arrays = None if data is None else _unpack(key, data)
        if path is None or arrays is None:
            self.miss_count += 1
            if path is not None and data is not None:
                self.corrupt_count += 1
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            return None
        self.hit_count += 1
        with contextlib.suppress(OSError):  # a read-only cache still serves
            os.utime(path)
        return arrays

    def put(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep arrays under a key; an entry that is there is replaced.

        Args:
            key: of `make_key`.
            arrays: name -> array of a plain number type.

        Raises:
            UsageError: not a key of `make_key`, or arrays of objects or strings.
        """
        path = self._path(key)
        data = _pack(key, arrays)
        if path is None or self.folder is None or self.failure is not None or len(data) > _ENTRY_BYTES_LIMIT:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes_atomic(path, data)
        except (OSError, EnvironmentFailure) as error:
            self.failure = str(error)
            return
        if self._used_bytes is None:
            self._used_bytes = sum(size for _, size, _ in _entries(self.folder))
        else:
            self._used_bytes += len(data)
        if self._used_bytes > self._limit_bytes:
            self._used_bytes = _remove_oldest(self.folder, int(self._limit_bytes * _KEPT_SHARE))


def _read(path: Path) -> bytes | None:
    """The bytes of an entry; empty (and so damaged) where it is absurdly large or cannot be read."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_ENTRY_BYTES_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return b""
    return data if len(data) <= _ENTRY_BYTES_LIMIT else b""


def _pack(key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    from safetensors.numpy import save

    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise UsageError(f"cache: {name!r}: expected an array of numbers, got {array.dtype}")
    payload = save({name: np.array(array, order="C") for name, array in arrays.items()})
    return _MAGIC + _digest(key, payload) + payload


def _unpack(key: str, data: bytes) -> Arrays | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    start = len(_MAGIC) + _DIGEST_BYTES
    payload = data[start:]
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : start] != _digest(key, payload):
        return None
    try:
        # Copies, since views of the bytes would be read-only.
        return {name: np.array(value) for name, value in load(payload).items()}
    except (SafetensorError, ValueError, TypeError, KeyError):
        return None


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + payload).digest()


def _entries(folder: Path) -> list[tuple[float, int, Path]]:
    """Time of last use, bytes and path of every entry; what a killed write left behind is removed."""
    found = []
    for path in folder.glob("[0-9a-f][0-9a-f]/*"):
        try:
            stat = path.stat()
            if path.suffix == _SUFFIX and not is_temporary_name(path.name):
                found.append((stat.st_mtime, stat.st_size, path))
            elif is_temporary_name(path.name) and time.time() - stat.st_mtime > _STALE_SECONDS:
                path.unlink(missing_ok=True)
        except OSError:  # another process removed it, or may
            continue
    return found


def _remove_oldest(folder: Path, limit_bytes: int) -> int:
    """Remove the entries that were used longest ago until `limit_bytes` are left; return the bytes in use."""
    entries = sorted(_entries(folder), key=lambda entry: (entry[0], entry[2].name))
    used = sum(size for _, size, _ in entries)
    for _, size, path in entries:
        if used <= limit_bytes:
            break
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        used -= size
    return used
