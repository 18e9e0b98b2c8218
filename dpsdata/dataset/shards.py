"""Samples in tar shards that the library WebDataset reads, and the one door to a dataset's files in either form.

OUT/shards/train-000000.tar   one member a file of a sample, in the order of the names:
                              ID.edges.png  ID.json  ID.level.l0.5.png  ID.mask.FAMILY.png  ID.photo.png  ID.sketch.png
OUT/shards.csv                shard, split, count, bytes, sha256

WebDataset takes what stands before the first dot of a name as the key, so that a dot in an ID is written `%2E`, and
`%` itself `%25`. Times, owners and modes are always the same: equal samples give equal bytes. The manifest is that of
single files; the samples of a split lie in its shards in the order of the manifest, so many in each as `shards.csv`
says, and in each shard in the order of their names.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tqdm import tqdm

from dpsdata.contracts import BrokenImageError, MissingError
from dpsdata.dataset.manifest import ManifestRow, read_dataset, read_manifest
from dpsdata.images.header import MAX_FILE_BYTES, FilePart
from dpsdata.runtime.files import atomic_path, write_text_atomic

SHARD_FOLDER, SHARD_LIST = "shards", "shards.csv"
EXPORT_STATE = ".export.json"  # of an export, in a folder of shards that `dpsdata export` made
_COLUMNS = ("shard", "split", "count", "bytes", "sha256")
_FOLDERS = {"images": "photo", "edges": "edges", "sketches": "sketch", "masks": "mask", "levels": "level"}
_PARTS = {part: folder for folder, part in _FOLDERS.items()}


def escape_id(sample_id: str) -> str:
    """The key of a sample in a shard: its ID with `%25` for `%` and `%2E` for a dot."""
    return sample_id.replace("%", "%25").replace(".", "%2E")


def unescape_id(key: str) -> str:
    """The ID of a key, see `escape_id`."""
    return key.replace("%2E", ".").replace("%25", "%")


def member_name(path: str) -> str:
    """Name in a shard of a file of the other form: `masks/dps/a.b.png` is `a%2Eb.mask.dps.png`."""
    folder, *middle, name = path.split("/")
    return ".".join([escape_id(name.removesuffix(".png")), _FOLDERS[folder], *middle, "png"])


def split_member(name: str) -> tuple[str, str | None]:
    """ID and path in the other form of a member; the path is None for what has none there, such as `ID.json`."""
    key, _, suffix = name.partition(".")
    sample_id = unescape_id(key)
    part, _, rest = suffix.removesuffix(".png").partition(".")
    if not suffix.endswith(".png") or part not in _PARTS:
        return sample_id, None
    return sample_id, "/".join([_PARTS[part], *([rest] if rest else []), f"{sample_id}.png"])


def shard_name(split: str, number: int) -> str:
    """File name of a shard: `train-000000.tar`."""
    safe = re.sub("[^A-Za-z0-9_-]", "_", split)
    if safe != split:  # another split may come to the same letters
        safe += "-" + hashlib.sha256(split.encode()).hexdigest()[:8]
    return f"{safe}-{number:06d}.tar"


@dataclass(frozen=True)
class ShardRow:
    """One line of `shards.csv`. `byte_count` and `sha256` are those of the whole file."""

    shard: str
    split: str
    count: int
    byte_count: int
    sha256: str

    @property
    def path(self) -> str:
        """Below the built folder."""
        return f"{SHARD_FOLDER}/{self.shard}"


class ShardWriter:
    """Writes one shard; from `write_shard`.

    Attributes:
        byte_count: bytes written so far; all of them once the block of `write_shard` has ended.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._digest = stream, hashlib.sha256()
        self.byte_count = 0
        self._tar = tarfile.open(fileobj=self, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8")  # type: ignore[call-overload] # noqa: SIM115

    def write(self, data: bytes) -> int:
        """Of the file that `tarfile` writes to."""
        self._digest.update(data)
        self.byte_count += len(data)
        return self._stream.write(data)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes written so far."""
        return self._digest.hexdigest()

    def add(self, sample_id: str, files: Mapping[str, bytes], description: Mapping[str, Any]) -> None:
        """Append a sample.

        Args:
            sample_id: greater by its key than all before.
            files: content by path in the form of single files.
            description: what becomes `ID.json`.
        """
        text = json.dumps(description, ensure_ascii=False, sort_keys=True) + "\n"
        members = {member_name(path): data for path, data in files.items()}
        members[f"{escape_id(sample_id)}.json"] = text.encode()
        for name in sorted(members):
            entry = tarfile.TarInfo(name)  # time, owner and group 0
            entry.size = len(members[name])
            self._tar.addfile(entry, io.BytesIO(members[name]))

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()


@contextmanager
def write_shard(path: Path) -> Iterator[ShardWriter]:
    """A shard under a temporary name, moved to `path` where the block ends well.

    Raises:
        EnvironmentFailure: disk full, no permission.
    """
    with atomic_path(path) as temporary, temporary.open("xb") as stream:
        writer = ShardWriter(stream)
        yield writer
        writer.close()


def describe_sample(row: ManifestRow, stats: Mapping[str, float]) -> dict[str, Any]:
    """What `ID.json` tells: the line of the manifest, line density and hole ratios in [0, 1]."""
    hashes = {member_name(path).partition(".")[2]: digest for path, digest in row.files().items()}
    wanted = ("line_density", *(f"hole_{family}" for family in row.masks))
    return {
        "id": row.id,
        "split": row.split,
        "source": row.source,
        "source_sha256": row.source_sha256,
        "width": row.width,
        "height": row.height,
        "sha256": hashes,
        **{name: stats[name] for name in wanted if name in stats},
    }


def list_members(path: Path) -> Iterator[FilePart]:
    """Every member of a shard: its name, and where its bytes lie.

    Raises:
        MissingError: no such file, no tar, cut off, or with a member that is no plain file, has a path or is too large.
    """
    try:
        with path.open("rb") as stream:
            total = os.fstat(stream.fileno()).st_size
            with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8") as archive:
                for entry in archive:
                    yield _check_member(path, entry, total)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such shard; run the same `dpsdata build` again") from None
    except (OSError, tarfile.TarError, ValueError, EOFError) as error:
        raise MissingError(f"{path}: not a whole tar file ({error}); run the same `dpsdata build` again") from None


def _check_member(path: Path, entry: tarfile.TarInfo, total: int) -> FilePart:
    name = entry.name
    if not entry.isfile() or entry.issparse():
        raise MissingError(
            f"{path}: the member {name!r} is not a plain file, so dpsdata did not write this shard; refused"
        )
    if "/" in name or "\\" in name or "\0" in name or name.startswith("."):
        raise MissingError(f"{path}: the member {name!r} leads elsewhere, so dpsdata did not write this shard; refused")
    if entry.size > MAX_FILE_BYTES or entry.offset_data + entry.size > total:
        raise MissingError(f"{path}: the member {name!r} is cut off or too large; run the same `dpsdata build` again")
    return FilePart(path, entry.offset_data, entry.size, name)


def write_shard_list(out: Path, rows: Iterable[ShardRow]) -> str:
    """Write `shards.csv`; returns its SHA-256."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((row.shard, row.split, row.count, row.byte_count, row.sha256) for row in rows)
    write_text_atomic(out / SHARD_LIST, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue().encode()).hexdigest()


def read_shard_list(folder: Path, sha256: str) -> list[ShardRow]:
    """The rows of `shards.csv`.

    Args:
        folder: a built folder.
        sha256: that `dataset.json` tells.

    Raises:
        MissingError: missing, damaged, or not the list of this build.
    """
    path = folder / SHARD_LIST
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise MissingError(f"{path}: not the list that dataset.json names; run the same `dpsdata build` again")
        rows = list(csv.reader(io.StringIO(data.decode())))
        if tuple(rows[0]) != _COLUMNS:
            raise ValueError("other columns")
        found = [
            ShardRow(shard, split, int(count), int(size), digest) for shard, split, count, size, digest in rows[1:]
        ]
    except (OSError, ValueError, IndexError) as error:
        raise MissingError(f"{path}: cannot be read ({error}); run the same `dpsdata build` again") from error
    if any(not re.fullmatch(r"[A-Za-z0-9_-]+-[0-9]{6,}\.tar", row.shard) for row in found):
        raise MissingError(f"{path}: not the name of a shard; run the same `dpsdata build` again")
    return found


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_shards(folder: Path, description: Mapping[str, Any]) -> None:
    """Hash whole shards: before a training, a byte that changed is told and not learnt from.

    Args:
        folder: a built folder.
        description: its `dataset.json`; nothing is done where it tells of single files.

    Raises:
        MissingError: a shard is missing or not as it was built.
    """

    def check(row: ShardRow) -> None:
        try:
            is_built = hash_file(folder / row.path) == row.sha256
        except OSError as error:
            raise MissingError(f"{folder / row.path}: cannot be read ({error.strerror}); {_AGAIN}") from None
        if not is_built:
            raise MissingError(f"{folder / row.path}: damaged, or of another build; {_AGAIN}")

    if dataset_format(description) == "files":
        return
    rows = read_shard_list(folder, str(description.get("shards", {}).get("sha256")))
    with ThreadPoolExecutor(4) as pool:
        for _ in tqdm(pool.map(check, rows), total=len(rows), desc="checking shards", unit="shard", disable=None):
            pass


_AGAIN = "see `dpsdata verify`, and run the same `dpsdata build` again to make it again"


class StoredFiles(Protocol):
    """The files of a dataset, named as in the form of single files, such as `masks/dps/ID.png`."""

    def source(self, path: str) -> Path | FilePart:
        """What the readers of images take; where the manifest is known, they refuse any other content.

        Raises:
            BrokenImageError: the dataset has no such file.
            MissingError: its shard is damaged.
        """
        ...


class PlainFiles:
    """A dataset of single files.

    Args:
        folder: a built folder.
        rows: its manifest; nothing where the files may be others.
    """

    def __init__(self, folder: Path, rows: Iterable[ManifestRow] = ()) -> None:
        self.folder = folder
        self._rows = {row.id: row for row in rows}

    def source(self, path: str) -> Path | FilePart:
        """See `StoredFiles`."""
        digest = _find_digest(self._rows, path)
        return FilePart(self.folder / path, 0, None, path, digest) if digest else self.folder / path


def _find_digest(rows: Mapping[str, ManifestRow], path: str) -> str:
    row = rows.get(path.rpartition("/")[2].removesuffix(".png"))
    digest = "" if row is None else row.files().get(path, "")
    return digest if len(digest) == 64 else ""  # manifests written by hand hold none; `verify` names them


class ShardFiles:
    """A dataset of shards; a shard is listed when a sample of it is first read.

    Args:
        folder: a built folder.
        description: its `dataset.json`.
        rows: its manifest.

    Raises:
        MissingError: a shard is missing, of another length, or the lists do not belong together.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any], rows: Iterable[ManifestRow]) -> None:
        self.folder = folder
        self.shards = read_shard_list(folder, str(description.get("shards", {}).get("sha256")))
        for shard in self.shards:
            try:
                size = (folder / shard.path).stat().st_size
            except OSError:
                raise MissingError(f"{folder / shard.path}: this shard is missing; {_AGAIN}") from None
            if size != shard.byte_count:
                raise MissingError(f"{folder / shard.path}: {size} bytes, but {shard.byte_count} were built; {_AGAIN}")
        self._rows = {row.id: row for row in rows}
        self._shard_of = place_samples(folder, self.shards, self._rows.values())
        # The newest listings, a few MB each.
        self._listing = functools.lru_cache(maxsize=64)(self._list)

    def source(self, path: str) -> FilePart:
        """See `StoredFiles`."""
        number = self._shard_of.get(path.rpartition("/")[2].removesuffix(".png"))
        found = None if number is None else self._listing(number).get(member_name(path))
        if number is None or found is None:
            raise BrokenImageError(f"the dataset has no {path}")
        return FilePart(self.folder / self.shards[number].path, *found, path, _find_digest(self._rows, path))

    def _list(self, number: int) -> dict[str, tuple[int, int]]:
        members = list_members(self.folder / self.shards[number].path)
        return {part.name: (part.offset, part.size or 0) for part in members}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_listing"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._listing = functools.lru_cache(maxsize=64)(self._list)


def place_samples(folder: Path, shards: list[ShardRow], rows: Iterable[ManifestRow]) -> dict[str, int]:
    """Number of the shard of every ID.

    Raises:
        MissingError: the list of shards and the manifest do not belong together.
    """
    ids: dict[str, list[str]] = {}
    for row in rows:
        if row.status == "ok":
            ids.setdefault(row.split, []).append(row.id)
    placed: dict[str, int] = {}
    used = dict.fromkeys(ids, 0)
    for number, shard in enumerate(shards):
        start = used.get(shard.split, 0)
        members = ids.get(shard.split, [])[start : start + shard.count]
        placed.update(dict.fromkeys(members, number))
        used[shard.split] = start + shard.count
    if any(used.get(split) != len(members) for split, members in ids.items()) or used.keys() - ids.keys():
        raise MissingError(f"{folder / SHARD_LIST}: its counts are not those of manifest.csv; {_AGAIN}")
    return placed


def dataset_format(description: Mapping[str, Any]) -> str:
    """`files` or `webdataset`, as `dataset.json` tells."""
    return str(description.get("format", "files"))


def open_files(
    folder: Path, description: Mapping[str, Any] | None = None, rows: Iterable[ManifestRow] | None = None
) -> PlainFiles | ShardFiles:
    """The files of a built folder, in whichever form it is.

    Args:
        folder: a built folder.
        description: its `dataset.json`, where it was read already.
        rows: its manifest, where it was read already.

    Raises:
        MissingError: no built dataset there, or its shards are not whole.
    """
    if description is None:
        description = read_dataset(folder)
    rows = read_manifest(folder) if rows is None else rows
    return PlainFiles(folder, rows) if dataset_format(description) == "files" else ShardFiles(folder, description, rows)
