"""Reads TensorFlow V2 checkpoints (tensor bundles) without TensorFlow.

A bundle is `PREFIX.index` (a sorted table of names) and `PREFIX.data-00000-of-00001` (the bytes of the tensors).
The files may come from anybody: each size is checked before memory is taken for it, each CRC32C before a tensor is
given out, and the names of data files are made from the prefix alone.

Source: tensorflow/core/util/tensor_bundle of TensorFlow 2.21.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import google_crc32c

from dpsdata.contracts import EnvironmentFailure, MissingError
from models.baselines.tensorflow.messages import (
    DTYPE_NAMES,
    INDEX_BYTES_LIMIT,
    BundleEntry,
    BundleError,
    mask_crc32c,
    parse_entry,
    parse_header,
    table_entries,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

TENSOR_BYTES_LIMIT = 256 * 1024**2
TOTAL_BYTES_LIMIT = 512 * 1024**2  # SC-FEGAN, the largest that is read here, has 372 MB
_SLICE_BYTES = 1024**2
_ADVICE = "get the checkpoint again, all of its files in one folder, then run `dps weights import FOLDER`"
_DATA_FILE = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")


class TensorInfo(NamedTuple):
    """Type and shape of a tensor in a bundle; `dtype` is NumPy's name, or `string` and such for what is not read."""

    dtype: str
    shape: tuple[int, ...]


class _Index(NamedTuple):
    shard_count: int
    entries: dict[str, BundleEntry]


def index_path(prefix: Path) -> Path:
    """The path of a bundle's index."""
    return prefix.with_name(f"{prefix.name}.index")


def shard_path(prefix: Path, shard: int, shard_count: int) -> Path:
    """The path of one of a bundle's data files."""
    return prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shard_count:05d}")


def data_paths(prefix: Path) -> list[Path]:
    """The paths of all data files that a bundle's index asks for, whether they are there or not."""
    count = _read_index(prefix).shard_count
    return [shard_path(prefix, shard, count) for shard in range(count)]


def find_bundle_prefix(path: Path) -> Path:
    """Return the prefix of the bundle that a person means.

    Args:
        path: the prefix itself, the index, a data file, or a folder that holds one bundle.

    Raises:
        MissingError: a folder with no bundle, or with several.
    """
    if path.is_dir():
        found = sorted(child for child in path.glob("*.index") if child.is_file())
        if len(found) != 1:
            names = ", ".join(child.name for child in found[:5]) or "no .index file"
            raise MissingError(f"{path}: expected one TensorFlow checkpoint in it, found {names}; pass one .index file")
        path = found[0]
    if path.suffix == ".index":
        return path.with_name(path.name.removesuffix(".index"))
    match = _DATA_FILE.fullmatch(path.name)
    return path if match is None else path.with_name(match[1])


def list_bundle(prefix: Path) -> dict[str, TensorInfo]:
    """List what a bundle holds, from its index alone, in the order of names.

    Args:
        prefix: the path without `.index`, as TensorFlow takes it.

    Raises:
        MissingError: no such index, or it is damaged; names the file and the reason.
        EnvironmentFailure: it cannot be read.
    """
    return {name: TensorInfo(entry.dtype, entry.shape) for name, entry in _read_index(prefix).entries.items()}


def read_bundle(prefix: Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read tensors of a bundle, their CRC32C checked, in the order of names.

    Args:
        prefix: the path without `.index`, as TensorFlow takes it.
        names: what to read; None for everything.

    Returns:
        Name -> array of its own memory, in TensorFlow's layout (HWIO kernels).

    Raises:
        MissingError: a file or name is missing, or something is damaged or too large; names the file and the reason.
        EnvironmentFailure: a file cannot be read.
    """
    index = _read_index(prefix)
    wanted = index.entries if names is None else _choose(prefix, index.entries, names)
    _check_readable(prefix, wanted)
    tensors: dict[str, NDArray[Any]] = {}
    for shard in sorted({entry.shard for entry in wanted.values()}):
        chosen = {name: entry for name, entry in wanted.items() if entry.shard == shard}
        tensors |= _read_shard(shard_path(prefix, shard, index.shard_count), shard, chosen, index.entries)
    return {name: tensors[name] for name in wanted}


def _damaged(path: Path, reason: str) -> MissingError:
    return MissingError(f"{path}: {reason}; {_ADVICE}")


def _unreadable(path: Path, error: OSError) -> EnvironmentFailure:
    return EnvironmentFailure(f"{path}: cannot be read ({error.strerror}); check the path and its permissions")


def _file_size(path: Path) -> int:
    """Size of a plain file; anything else (a pipe would wait forever) counts as missing."""
    try:
        if not path.is_file():
            raise _damaged(path, "there is no such file, which is a part of a TensorFlow checkpoint")
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from None


def _read_index(prefix: Path) -> _Index:
    path = index_path(prefix)
    size = _file_size(path)
    if size > INDEX_BYTES_LIMIT:
        raise _damaged(path, f"{size:,} bytes, more than any index that is known here")
    try:
        with path.open("rb") as stream:
            data = stream.read(INDEX_BYTES_LIMIT + 1)
        return _parse_index(data)
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:  # also of a number that is cut off
        raise _damaged(path, str(error)) from None


def _parse_index(data: bytes) -> _Index:
    shard_count = 0
    entries: dict[str, BundleEntry] = {}
    for key, value in table_entries(data):
        if not shard_count:
            if key:
                raise BundleError("it has no header")
            shard_count = parse_header(value)
            continue
        try:
            name = key.decode("utf-8")
        except UnicodeDecodeError:  # the keys of slices are in a binary form
            raise BundleError("it holds a name that is no text, such as a piece of a partitioned variable") from None
        entries[name] = entry = parse_entry(value)
        if entry.shard >= shard_count:
            raise BundleError(f"{name[:80]!r} is in data file {entry.shard} of {shard_count}")
    if not shard_count:
        raise BundleError("it has no header")
    _check_overlaps(entries)
    return _Index(shard_count, entries)


def _check_overlaps(entries: Mapping[str, BundleEntry]) -> None:
    """Refuse tensors that share bytes: no writer makes them, and they would unpack a small file to a large one."""
    last_shard, end = -1, 0
    for shard, offset, size in sorted((entry.shard, entry.offset, entry.size) for entry in entries.values()):
        if size == 0:
            continue
        if shard == last_shard and offset < end:
            raise BundleError("two of its tensors overlap")
        last_shard, end = shard, offset + size


def _choose(prefix: Path, entries: Mapping[str, BundleEntry], names: Collection[str]) -> dict[str, BundleEntry]:
    missing = sorted(set(names) - set(entries))
    if missing:
        raise MissingError(
            f"{index_path(prefix)}: {len(missing)} of {len(set(names))} tensors are not in it, such as "
            f"{', '.join(missing[:3])}; check that this is the checkpoint of the network that you mean"
        )
    chosen = set(names)
    return {name: entry for name, entry in entries.items() if name in chosen}


def _check_readable(prefix: Path, entries: Mapping[str, BundleEntry]) -> None:
    readable = set(DTYPE_NAMES.values())
    for name, entry in entries.items():
        if entry.is_sliced or entry.dtype not in readable:
            kind = "stored in pieces" if entry.is_sliced else f"of type {entry.dtype}"
            raise _damaged(index_path(prefix), f"{name[:80]!r} is {kind}, which is not read here")
        if entry.size > TENSOR_BYTES_LIMIT:
            raise _damaged(index_path(prefix), f"{name[:80]!r} has {entry.size:,} bytes, more than any known tensor")
    total = sum(entry.size for entry in entries.values())
    if total > TOTAL_BYTES_LIMIT:
        raise _damaged(index_path(prefix), f"the tensors have {total:,} bytes, more than any weights known here")


def _read_shard(
    path: Path, shard: int, chosen: Mapping[str, BundleEntry], entries: Mapping[str, BundleEntry]
) -> dict[str, NDArray[Any]]:
    size = _file_size(path)
    end = max(entry.offset + entry.size for entry in entries.values() if entry.shard == shard)
    if end > size:
        raise _damaged(path, f"{size:,} bytes, but its tensors reach to byte {end:,}: it is cut off")
    try:
        with path.open("rb") as stream:
            return {name: _read_tensor(stream, path, name, entry) for name, entry in chosen.items()}
    except OSError as error:
        raise _unreadable(path, error) from None


def _read_tensor(stream: BinaryIO, path: Path, name: str, entry: BundleEntry) -> NDArray[Any]:
    """Read one tensor in slices, so that no second copy of a large one is held for its CRC32C."""
    import numpy as np

    raw = np.empty(entry.size, np.uint8)
    crc, at = 0, 0
    stream.seek(entry.offset)
    while at < entry.size:
        part = stream.read(min(_SLICE_BYTES, entry.size - at))
        if not part:
            raise _damaged(path, "it became shorter while it was read")
        crc = google_crc32c.extend(crc, part)
        raw[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)
    if mask_crc32c(crc) != entry.masked_crc32c:
        raise _damaged(path, f"the CRC32C of {name[:80]!r} is wrong")
    if entry.dtype == "bool" and bool((raw > 1).any()):
        raise _damaged(path, f"{name[:80]!r} is of type bool and holds other values than 0 and 1")
    return raw.view(np.dtype(entry.dtype).newbyteorder("<")).reshape(entry.shape)
