"""Places that are no folder of this machine: `s3://`, `gs://`, `https://` and whatever else `fsspec` resolves.

What is read is copied into the cache first, and only what changed since is copied again; what is built there is built
in the cache and put to its place at the end, `dataset.json` last, so that a dataset is there whole or not at all.

    HOME/remote/KEY/copy/NAME     the copy of an address; KEY is a hash of it, NAME its last part
    HOME/remote/KEY/index.jsonl   size and tag of every object, and size and time of its copy

Credentials come from the environment, by the means of each `fsspec` file system (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`,
`AWS_ENDPOINT_URL`, ...). Addresses are shown without what stands before `@` and after `?`; what the libraries below
say is not shown, since it may hold either.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from filelock import FileLock
from tqdm import tqdm

from dpsdata.contracts import DpsError, EnvironmentFailure, MissingError, UsageError
from dpsdata.runtime.files import ADDRESS, atomic_path, is_temporary_name, lock_folder, write_failure
from dpsdata.weights.store import home_folder

_TRIES, _PAUSE_S, _THREADS = 4, 0.5, 8
_PAGE_DEPTH = 8  # of folders below a web address: pages may link to each other without end
_LAST = "dataset.json"  # what says that a dataset is there
_STARTED = ".build/started"  # an empty object that a build puts first, so that a refusal does not come after hours
_OWN = frozenset({_STARTED, ".build/lock", ".build/lock.pid", ".build/unfinished"})
_REFUSED = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError")
_Result = TypeVar("_Result")


def show_place(place: str | Path) -> str:
    """A path as it is; an address without credentials, also where a `Path` took one of its slashes."""
    found = ADDRESS.match(str(place))
    if not found:
        return str(place)
    scheme, rest = found.groups()
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}".split("?")[0]


def local_copy(place: str | Path) -> Path:
    """The folder or zip to read from: a path as it is, an address as a copy in the cache that is up to date.

    Raises:
        MissingError: nothing is there.
        EnvironmentFailure: fsspec is not installed, access is refused, the connection fails, or the disk is full.
        UsageError: an address with credentials, or with names that cannot be files of one folder.
    """
    if not ADDRESS.match(str(place)):
        return Path(place)
    mirror = _Mirror.of(place, "read")
    with FileLock(mirror.folder / "lock"):
        mirror.pull(mirror.find(), is_exact=True)
    return mirror.copy


@contextmanager
def remote_target(place: Path) -> Iterator[Path]:
    """A folder of this machine to build into; where the block ends well, the address holds the same files.

    What an earlier build put there, from this machine or from another, is in the folder at the beginning.

    Raises:
        UsageError: the address holds things that no build made, or cannot be written to.
    """
    mirror = _Mirror.of(place, "build")
    if mirror.is_web:
        raise UsageError(f"{mirror.shown}: a web address can be read, but not written to; build into a folder or s3://")
    with lock_folder(Path(mirror.shown), mirror.folder / "lock", "build"):
        listing = mirror.start()
        mirror.pull(listing, is_exact=False)
        yield mirror.copy
        mirror.push()


@dataclass(frozen=True)
class _Object:
    """What a listing tells: the name for the library, bytes, and what changes with the content (empty: not told)."""

    path: str
    size: int
    tag: str


@dataclass(frozen=True)
class _Mirror:
    """An address and its copy; `fs` is an `fsspec.AbstractFileSystem`, `root` the address as it takes it."""

    fs: Any
    root: str
    shown: str
    folder: Path
    copy: Path

    @classmethod
    def of(cls, place: str | Path, use: str) -> _Mirror:
        shown = show_place(place)
        scheme, rest = ADDRESS.fullmatch(str(place)).groups()  # type: ignore[union-attr]
        if "@" in rest.partition("/")[0]:
            raise UsageError(f"{shown}: an address with credentials; pass them through the environment instead")
        if scheme.lower() in ("file", "local"):
            raise UsageError(f"{shown}: a folder on this machine; write it without {scheme}://")
        try:
            import fsspec

            is_web = scheme.lower() in ("http", "https")
            # A page that a server packs has another size than it tells.
            options: dict[str, Any] = {"headers": {"Accept-Encoding": "identity"}} if is_web else {}
            fs, root = fsspec.core.url_to_fs(f"{scheme}://{rest}", use_listings_cache=False, **options)
        except ImportError:
            raise EnvironmentFailure(
                f"{shown}: reading {scheme}:// needs fsspec and its package for {scheme}; "
                "run `pip install 'deep-plastic-surgery[remote]'` (s3), or `pip install gcsfs` (gs)"
            ) from None
        except ValueError:
            raise UsageError(f"{shown}: fsspec does not know {scheme}://; give a folder, or s3://BUCKET/...") from None
        except Exception as error:
            raise _failure(shown, error) from None
        key = hashlib.sha256(f"{use} {scheme}://{rest}".encode()).hexdigest()[:24]
        folder = home_folder() / "remote" / key
        name = unquote(shown.rstrip("/").rpartition("/")[2])
        copy = folder / "copy" / (name if re.fullmatch(r"\w[\w.+ -]{0,99}", name) else "data")
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_failure(folder, error) from None
        return cls(fs, str(root).rstrip("/"), shown, folder, copy)

    @property
    def is_web(self) -> bool:
        """Whether names come from the links of pages."""
        return self.root.startswith(("http://", "https://"))

    def find(self, may_be_empty: bool = False) -> dict[str, _Object]:
        """Every object below the address by its relative path; a zip has one, with an empty path."""
        if self.shown.lower().endswith(".zip"):
            found = {self.root: self._ask(lambda: self.fs.info(self.root))}
        else:
            root = self.root + "/" * self.is_web
            depth = _PAGE_DEPTH if self.is_web else None
            try:
                found = self._ask(lambda: self.fs.find(root, maxdepth=depth, detail=True))
            except MissingError:
                if not may_be_empty:
                    raise
                found = {}
        listing = {}
        for path, info in found.items():
            name = path.removeprefix(self.root).removeprefix("/")
            if path.endswith("/") or info.get("type") == "directory" or (self.is_web and "?" in name):
                continue  # marks of folders, and ways to sort a page
            if self.is_web:
                name = unquote(name)
                info = self._ask(partial(self.fs.info, path)) if info.get("size") is None else info
            if not isinstance(info.get("size"), int):
                raise UsageError(f"{self.shown}: the server does not report the size of {name}; download it yourself")
            listing[name] = _Object(path, info["size"], _tag(info))
        self._check_names(listing)
        if not listing and not may_be_empty:
            raise MissingError(f"{self.shown}: nothing is there; check the address")
        return listing

    def start(self) -> dict[str, _Object]:
        """What an earlier build put there, once it is known that the address can be written to."""
        listing = self.find(may_be_empty=True)
        if listing and not {_STARTED, _LAST}.intersection(listing):
            raise UsageError(f"{self.shown}: holds things that no build made; choose an empty or a new address")
        if not listing:  # somebody cleared it: what was built for it before goes as well
            shutil.rmtree(self.copy, ignore_errors=True)
        if _STARTED not in listing:
            self._ask(lambda: self.fs.pipe_file(f"{self.root}/{_STARTED}", b""))
        return {name: found for name, found in listing.items() if name != _STARTED}

    def _check_names(self, names: Iterable[str]) -> None:
        folders = {name[:place] for name in names for place, letter in enumerate(name) if letter == "/"}
        for name in names:
            parts = name.split("/")
            odd = any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts) and name
            if odd or "\\" in name or "\0" in name or name in folders or is_temporary_name(parts[-1]):
                raise UsageError(f"{self.shown}: the object {name!r} cannot be a file of a folder; rename it")

    def pull(self, listing: Mapping[str, _Object], is_exact: bool) -> None:
        """Copy what changed since the last time; with `is_exact`, remove what is no longer there."""
        index = self._read_index()
        stale = [name for name, found in listing.items() if not found.tag or not self._is_in_step(index, name, found)]
        size = sum(listing[name].size for name in stale)
        if size > shutil.disk_usage(self.folder).free:
            raise EnvironmentFailure(
                f"{self.folder}: {size / 1e6:,.0f} MB of {self.shown} do not fit on this disk; free some space, or set "
                "DPS_HOME to a folder of another disk"
            )
        if listing:
            print(
                f"{self.shown}: {len(listing):,} objects, {len(stale):,} to copy ({size / 1e6:,.1f} MB); read from "
                f"{self.copy}",
                file=sys.stderr,
            )
        for path in [path for path in self.copy.rglob("*") if is_exact and path.is_file()]:
            if path.relative_to(self.copy).as_posix() not in listing:
                path.unlink()
        if "" not in listing:
            self.copy.mkdir(exist_ok=True)

        def fetch(name: str) -> None:
            found, path = listing[name], self._path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                self._ask(lambda: self._fetch(found, temporary))
            self._note(name, found)

        self._each(fetch, stale, "copying")

    def _fetch(self, found: _Object, temporary: Path) -> None:
        temporary.unlink(missing_ok=True)
        self.fs.get_file(found.path, str(temporary))
        if temporary.stat().st_size != found.size:
            raise ConnectionError

    def push(self) -> None:
        """Put what was built to its place: `dataset.json` goes first, and comes last."""
        index, there = self._read_index(), self.find(may_be_empty=True)
        paths = [path for path in self.copy.rglob("*") if path.is_file() and not is_temporary_name(path.name)]
        built = {path.relative_to(self.copy).as_posix(): path for path in paths}
        built = {name: path for name, path in built.items() if name not in _OWN}
        stale = [name for name in built if name not in there or not self._is_in_step(index, name, there[name])]
        lost = [name for name in there if name not in built and name.startswith(("shards/", ".build/"))]
        size = sum(built[name].stat().st_size for name in stale)
        print(f"{self.shown}: {len(stale):,} objects to put there ({size / 1e6:,.1f} MB)", file=sys.stderr)

        def put(name: str) -> None:
            address = f"{self.root}/{name}"

            def send() -> dict[str, Any]:
                self.fs.put_file(str(built[name]), address)
                told: dict[str, Any] = self.fs.info(address)
                if told["size"] != built[name].stat().st_size:
                    raise ConnectionError
                return told

            told = self._ask(send)
            self._note(name, _Object(address, told["size"], _tag(told)))

        def remove(name: str) -> None:
            with suppress(MissingError):  # a try that was cut off may have removed it
                self._ask(lambda: self.fs.rm_file(f"{self.root}/{name}"))

        if stale and _LAST in there:
            remove(_LAST)
        self._each(put, [name for name in stale if name != _LAST], "sending")
        if stale:
            put(_LAST)
        for name in lost:
            remove(name)

    def _each(self, work: Callable[[str], None], names: list[str], words: str) -> None:
        pool = ThreadPoolExecutor(_THREADS)
        try:
            for _ in tqdm(pool.map(work, names), total=len(names), desc=words, unit="object", disable=None):
                pass
        finally:
            pool.shutdown(cancel_futures=True)

    def _ask(self, call: Callable[[], _Result]) -> _Result:
        """Call the library, again where the connection failed."""
        for turn in range(_TRIES):
            try:
                return call()
            except Exception as error:
                failure = _failure(self.shown, error)
                if type(failure) is not _CutOffError or turn == _TRIES - 1:
                    raise failure from None
            time.sleep(_PAUSE_S * 2**turn)
        raise AssertionError

    def _path(self, name: str) -> Path:
        return self.copy / name if name else self.copy

    def _stamp(self, name: str) -> list[int]:
        try:
            status = self._path(name).stat()
        except OSError:
            return []
        return [status.st_size, status.st_mtime_ns]

    def _is_in_step(self, index: Mapping[str, Any], name: str, found: _Object) -> bool:
        return bool(index.get(name) == [found.size, found.tag, *self._stamp(name)])

    def _read_index(self) -> dict[str, Any]:
        index = {}
        try:
            lines = (self.folder / "index.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            try:
                name, about = json.loads(line)
            except (ValueError, TypeError):
                continue  # cut short by a kill: the object is copied again
            index[name] = about
        return index

    def _note(self, name: str, found: _Object) -> None:
        line = json.dumps([name, [found.size, found.tag, *self._stamp(name)]]) + "\n"
        handle = os.open(self.folder / "index.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, line.encode())  # in one piece, as threads and a kill need it
        finally:
            os.close(handle)


class _CutOffError(EnvironmentFailure):
    """The connection failed; worth another try."""


def _tag(info: Mapping[str, Any]) -> str:
    keys = ("ETag", "etag", "md5Hash", "LastModified", "Last-Modified", "mtime")
    return next((str(info[key]) for key in keys if info.get(key)), "")


def _failure(shown: str, error: Exception) -> DpsError:
    """What to raise for an error of a library, none of whose words are shown."""
    if isinstance(error, DpsError):
        return error
    status = getattr(error, "status", None)
    if isinstance(error, OSError) and error.filename:
        return write_failure(error.filename, error)
    if isinstance(error, FileNotFoundError) or status == 404:
        return MissingError(f"{shown}: no such bucket or object; check the address")
    if isinstance(error, PermissionError) or status in (401, 403) or type(error).__name__ in _REFUSED:
        return EnvironmentFailure(
            f"{shown}: access is refused; set credentials that may use it in the environment, such as AWS_PROFILE"
        )
    return _CutOffError(
        f"{shown}: the connection failed {_TRIES} times ({type(error).__name__}); run the same command again, what has "
        "come through is kept"
    )
