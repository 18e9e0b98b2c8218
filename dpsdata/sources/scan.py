"""Listing the image files of a folder or a zip, and the reasons for everything that is not taken.

A name decides what is an image; a file whose name says nothing is looked at. Nothing vanishes: what has the name or the
first bytes of an image and is not taken has its reason, and everything else is counted by its suffix.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dpsdata.contracts import IMAGE_SUFFIXES, BrokenImageError, MissingError, UsageError
from dpsdata.images.header import image_kind

# Pictures that nothing here decodes: each is named with its reason, as it may be what the user meant to build from.
UNREAD_SUFFIXES = frozenset(
    {".jp2", ".j2k", ".jpx", ".jxl", ".jxr", ".tga", ".psd", ".svg", ".exr", ".hdr", ".pfm", ".dng", ".cr2", ".cr3",
     ".nef", ".arw", ".orf", ".rw2", ".raf", ".ico", ".pcx", ".sgi", ".dds", ".qoi", ".pam", ".jls", ".dcm"}
)  # fmt: skip
ARCHIVE_SUFFIXES = frozenset(
    {".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".parquet", ".arrow", ".tfrecord", ".tfrecords", ".h5",
     ".hdf5", ".lmdb", ".mdb", ".beton", ".mds"}
)  # fmt: skip
# Files of these names are never pictures, so their bytes need no look.
_PLAIN_SUFFIXES = ARCHIVE_SUFFIXES | {
    ".txt", ".md", ".rst", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".html", ".htm", ".yml", ".yaml", ".toml", ".ini",
    ".cfg", ".log", ".py", ".ipynb", ".sh", ".mat", ".npy", ".npz", ".pkl", ".pt", ".pth", ".safetensors", ".onnx",
    ".pdf", ".mp4", ".mov", ".avi", ".webm", ".gz", ".lst", ".bib", ".tex", ".db", ".dat", ".sha256", ".md5",
}  # fmt: skip
# What file managers leave behind.
_SPLIT_LIST = re.compile(
    r"(?i)(.*(split|partition).*|(train|val|valid|validation|test)([-_ ]?(list|files|images|names|ids|set))?)"
    r"\.(txt|csv|tsv|json|lst)"
)
_LITTER = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"})
MAPPING_NAME = "CelebA-HQ-to-CelebA-mapping.txt"
# Half a million label PNGs of CelebAMask-HQ: not photos, and slow to list.
_LABEL_FOLDER = "CelebAMask-HQ-mask-anno"
_LABEL_FOLDERS = "CelebAMask-HQ-mask"  # so begin all folders of its label maps
# Small copies and thrown away files of disk stations and of Windows.
_SYSTEM_FOLDERS = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
_IGNORED_FOLDERS = _SYSTEM_FOLDERS | {_LABEL_FOLDER}
BUILT_MARKS = frozenset({"dataset.json", "manifest.csv"})
_BOMB_BYTES, _BOMB_RATIO = 16 * 2**20, 100
_COMPRESSIONS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})


@dataclass(frozen=True)
class Entry:
    """One file that looks like a photo by its name: its path below the source, and where its bytes are."""

    relative_path: str
    file: Path
    member: int | None = None


@dataclass
class Scan:
    """What lies in a source.

    Attributes:
        entries: image files, in no certain order.
        skipped: (path, reason) of what has an image's name but is not taken.
        zips: zip files, by relative path.
        others: how many other files there are of each suffix, or `hidden`.
        marks: names of folders and files that tell layouts apart.
        lists: files that may say which photo is in which split, by their names.
    """

    entries: list[Entry] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    zips: list[Entry] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    marks: set[str] = field(default_factory=set)
    lists: list[str] = field(default_factory=list)

    def count_other(self, path: str) -> None:
        """Count a file that is no image."""
        name = PurePosixPath(path)
        self.others[name.suffix.lower() or "no suffix"] += 1
        if _SPLIT_LIST.fullmatch(name.name):
            self.lists.append(path)


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image; its content decides later."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 (a Path would be slow)


def is_litter(name: str) -> bool:
    """Whether a file manager left a file of this name behind (`Thumbs.db`, `.DS_Store`, `._x.png`)."""
    return name.lower() in _LITTER or name == ".DS_Store" or name.startswith("._")


def _other_fault(name: str, start: bytes) -> str | None:
    """Why a file that may be an image, but has no name of one that is read, is not taken; None where it is none."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in UNREAD_SUFFIXES:
        return f"{suffix} files are not read; convert it to PNG or JPEG"
    kind = image_kind(start)
    return f"a {kind} image by its content, but not by its name; give it a suffix such as .jpg" if kind else None


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED_FOLDERS


def _name_fault(path: str) -> str | None:
    """Why a path cannot become an ID, or None."""
    is_plain = path.isascii() and path.isprintable()
    if not is_plain and any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in path):
        return "its name has a line break or another control character; rename it"
    try:
        size = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        return "its name is not valid UTF-8; rename it"
    # ID, `/` as `__`, a collision's 9 characters and a suffix have to fit into one file name of 255 bytes
    return (
        "its path is too long to become a file name; move it up or rename it" if size + path.count("/") > 235 else None
    )


def _printable(path: str) -> str:
    text = path.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def hub_snapshot(folder: Path) -> Path:
    """The photos of a repository in the cache of Hugging Face, where `folder` is one; otherwise `folder`.

    Raises:
        UsageError: it holds several snapshots and none is called main.
    """
    snapshots = folder / "snapshots"
    if not (snapshots.is_dir() and (folder / "blobs").is_dir()):
        return folder
    found = sorted(item for item in snapshots.iterdir() if item.is_dir())
    if len(found) == 1:
        return found[0]
    try:
        main = snapshots / (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        main = snapshots
    if main in found:
        return main
    raise UsageError(f"{folder}: {len(found)} snapshots of a Hugging Face repository; name the folder of one of them")


def _hub_blobs(root: Path) -> Path | None:
    """The files that the links of a Hugging Face snapshot lead to, where the source is one or lies in one."""
    for folder in (root, *root.parents):
        if folder.parent.name == "snapshots" and (folder.parent.parent / "blobs").is_dir():
            return folder.parent.parent / "blobs"
    return None


class _FolderScan:
    """Walks a folder without following links to folders."""

    def __init__(self, root: Path, exclude: Path | None) -> None:
        self.root = root.resolve()
        self.blobs = _hub_blobs(self.root)
        self.exclude = exclude.resolve() if exclude is not None else None
        self.scan = Scan()

    def walk(self, folder: Path, prefix: str) -> None:
        try:
            with os.scandir(folder) as found:
                items = list(found)
        except OSError as error:
            self.scan.skipped.append((_printable(prefix.rstrip("/")), f"the folder cannot be read: {error.strerror}"))
            return
        names = {item.name for item in items}
        is_unfinished = ".build" in names and "images" in names
        if prefix and (names >= BUILT_MARKS or is_unfinished):
            self.scan.skipped.append((_printable(prefix.rstrip("/")), "a folder that `dpsdata build` made, not photos"))
            return
        self.scan.marks.update(names & {MAPPING_NAME, _LABEL_FOLDER})
        self.scan.marks.update(_LABEL_FOLDER for name in names if name.startswith(_LABEL_FOLDERS))
        for item in items:
            if not _is_ignored(item.name):
                self._take(item, prefix + item.name)
            elif item.name.startswith(".") and item.is_dir(follow_symlinks=False):
                self.scan.others["hidden folders"] += 1
            elif is_image_name(item.name) and not is_litter(item.name):
                self.scan.others["hidden"] += 1

    def _take(self, item: os.DirEntry[str], path: str) -> None:
        if item.is_dir(follow_symlinks=False):
            if self.exclude is not None and Path(item.path).resolve() == self.exclude:
                return
            if is_image_name(item.name):
                self.scan.skipped.append((_printable(path), "a folder, not an image file"))
                return
            self.walk(Path(item.path), path + "/")
        elif is_image_name(item.name):
            fault = _name_fault(path) or self._file_fault(item)
            if fault is None:
                self.scan.entries.append(Entry(path, Path(item.path)))
            else:
                self.scan.skipped.append((_printable(path), fault))
        elif item.is_symlink() and item.is_dir():
            self.scan.skipped.append((_printable(path), "a link to a folder; links to folders are not followed"))
        elif item.name.lower().endswith(".zip"):
            fault = self._file_fault(item)
            if fault is None:
                self.scan.zips.append(Entry(path, Path(item.path)))
            else:
                self.scan.skipped.append((_printable(path), fault))
        elif not is_litter(item.name):
            self._take_other(item, path)

    def _take_other(self, item: os.DirEntry[str], path: str) -> None:
        """A file whose name is not that of an image."""
        suffix = PurePosixPath(item.name).suffix.lower()
        fault = None
        if suffix not in _PLAIN_SUFFIXES and self._file_fault(item) is None:
            try:
                start = read_start(Path(item.path))
            except BrokenImageError:
                start = b""
            if not suffix and image_kind(start) and (fault := _name_fault(path)) is None:
                self.scan.entries.append(Entry(path, Path(item.path)))  # as downloads by number or by hash are named
                return
            fault = fault or _other_fault(item.name, start)
        if fault is None:
            self.scan.count_other(path)
        else:
            self.scan.skipped.append((_printable(path), fault))

    def _file_fault(self, item: os.DirEntry[str]) -> str | None:
        if item.is_symlink():
            try:
                target = Path(item.path).resolve(strict=True)
            except FileNotFoundError:
                return "a link to a file that does not exist"
            except (OSError, RuntimeError):
                return "a link that leads in a circle or cannot be followed"
            if not target.is_relative_to(self.root) and not (self.blobs and target.is_relative_to(self.blobs)):
                return "a link that leads out of the source; copy the file into it"
            if self.exclude is not None and target.is_relative_to(self.exclude):
                return "a link into the folder that is built"
            if target.is_dir():
                return "a link to a folder, not an image file"
            regular = target.is_file()
        else:
            regular = item.is_file(follow_symlinks=False)
        return None if regular else "not an ordinary file but a pipe, a socket or a device"


def scan_folder(root: Path, exclude: Path | None = None) -> Scan:
    """List a folder with all below it.

    Args:
        root: the folder.
        exclude: a folder to leave out: the one that is built.
    """
    walker = _FolderScan(root, exclude)
    walker.walk(walker.root, "")
    return walker.scan


def _member_fault(info: zipfile.ZipInfo, path: str) -> str | None:
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or (len(parts[0]) == 2 and parts[0][1] == ":"):
        return "its path in the zip leads out of it"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link inside a zip, not an image file"
    if info.flag_bits & 1:
        return "it is encrypted; unpack the zip with its password first"
    if info.compress_type not in _COMPRESSIONS:
        return f"its compression ({info.compress_type}) is not read; pack the zip again"
    if info.file_size > MAX_SAMPLE_BYTES:
        return f"it has {info.file_size} bytes, more than the {MAX_SAMPLE_BYTES} that are read"
    if info.file_size > _BOMB_BYTES and info.file_size > _BOMB_RATIO * max(info.compress_size, 1):
        return f"it unpacks to {info.file_size // max(info.compress_size, 1)} times its size: a zip bomb"
    return _name_fault(path)


def member_name(info: zipfile.ZipInfo) -> str:
    """The name of a zip's entry, the same by every version of Python.

    Names without the flag of UTF-8 are UTF-8 all the same from many tools; else they are of the code page 437. A name
    in the extra field of Info-ZIP comes first.
    """
    name = info.orig_filename.split("\0", 1)[0]
    if info.flag_bits & 0x800 or name.isascii():
        return name
    raw = name.encode("cp437", "replace")
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        body, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == 0x7075 and len(body) > 5 and body[1:5] == struct.pack("<I", zlib.crc32(raw)):
            raw = body[5:]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return name


def _take_other_member(scan: Scan, entry: Entry, info: zipfile.ZipInfo) -> None:
    """An entry of a zip whose name is not that of an image."""
    suffix = PurePosixPath(entry.relative_path).suffix.lower()
    fault = None
    if suffix not in _PLAIN_SUFFIXES and _member_fault(info, member_name(info).replace("\\", "/")) is None:
        try:
            start = read_start(entry.file, entry.member)
        except BrokenImageError:
            start = b""
        if not suffix and image_kind(start):
            scan.entries.append(entry)
            return
        fault = _other_fault(entry.relative_path, start)
    if fault is None:
        scan.count_other(entry.relative_path)
    else:
        scan.skipped.append((_printable(entry.relative_path), fault))


def scan_zip(file: Path, prefix: str = "") -> Scan:
    """List a zip.

    Args:
        file: the zip.
        prefix: put before every path, where several zips make one source.

    Raises:
        MissingError: not a readable zip.
    """
    scan = Scan()
    for number, info in enumerate(open_zip(file).infolist()):
        path = member_name(info).replace("\\", "/")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts or any(_is_ignored(part) and part != ".." for part in parts):
            scan.marks.update(set(parts) & {_LABEL_FOLDER})
            if parts and is_image_name(parts[-1]) and not (set(parts) & _IGNORED_FOLDERS or is_litter(parts[-1])):
                scan.others["hidden"] += 1
            continue
        scan.marks.update(_LABEL_FOLDER for part in parts if part.startswith(_LABEL_FOLDERS))
        scan.marks.update(set(parts) & {MAPPING_NAME})
        if not is_image_name(parts[-1]):
            if not info.is_dir() and not is_litter(parts[-1]):
                _take_other_member(scan, Entry(prefix + "/".join(parts), file, number), info)
            continue
        fault = "a folder, not an image file" if info.is_dir() else _member_fault(info, path)
        if fault is None:
            scan.entries.append(Entry(prefix + "/".join(parts), file, number))
        else:
            scan.skipped.append((_printable(prefix + path), fault))
    return scan


MAX_SAMPLE_BYTES = 512 * 2**20

Place = tuple[Path, int | None]


@dataclass(frozen=True)
class SourceSample:
    """One photo of a source.

    Attributes:
        id: stable ID, see `dpsdata.sources.layouts`.
        relative_path: path below the source with `/` between its parts.
        file: the image file, or the zip that holds it.
        member: number of the entry in the zip, or None for a plain file. A number, since names can repeat.
        split_hint: split that the layout itself gives (`train`, `val`, `test`), or None.
    """

    id: str
    relative_path: str
    file: Path
    member: int | None = None
    split_hint: str | None = None


@functools.lru_cache(maxsize=8)
def _cached_zip(path: Path, size: int, mtime_ns: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def open_zip(path: Path) -> zipfile.ZipFile:
    """An open zip, kept for this process: reading the directory of 30,000 entries for each photo would dominate.

    Raises:
        MissingError: no such file, or no readable zip.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise MissingError(f"{path}: not an ordinary file; give a folder of photos or a zip of them")
        return _cached_zip(path, status.st_size, status.st_mtime_ns, os.getpid())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MissingError(f"{path}: not a readable zip ({reason}); download it again or unpack it") from None


def _read_file(path: Path) -> bytes:
    # Opening a FIFO without O_NONBLOCK would wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        number = os.open(path, flags)
    except FileNotFoundError:
        reason = "a link to a file that does not exist" if path.is_symlink() else "the file does not exist"
        raise BrokenImageError(reason) from None
    except OSError as error:
        raise BrokenImageError(f"the file cannot be opened: {error.strerror}") from None
    try:
        status = os.fstat(number)
        if stat.S_ISDIR(status.st_mode):
            raise BrokenImageError("a folder, not an image file")
        if not stat.S_ISREG(status.st_mode):
            raise BrokenImageError("not an ordinary file but a pipe, a socket or a device")
        with os.fdopen(number, "rb", closefd=False) as stream:
            return stream.read(MAX_SAMPLE_BYTES + 1)
    except OSError as error:
        raise BrokenImageError(f"the file cannot be read: {error.strerror}") from None
    finally:
        os.close(number)


def _read_member(path: Path, member: int) -> bytes:
    try:
        archive = open_zip(path)
        with archive.open(archive.infolist()[member]) as stream:
            return stream.read(MAX_SAMPLE_BYTES + 1)
    except MissingError as error:
        raise BrokenImageError(str(error)) from None
    except IndexError:
        raise BrokenImageError("the zip has changed: it has fewer entries than when it was listed") from None
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # also encrypted members (RuntimeError) and damaged bzip2 or lzma data
        raise BrokenImageError(f"the entry of the zip is damaged: {error}") from None
    except Exception as error:  # lzma.LZMAError has no base below Exception, and lzma may be missing
        raise BrokenImageError(f"the entry of the zip cannot be unpacked: {error}") from None


def read_place(file: Path, member: int | None) -> bytes:
    """Bytes of a file, or of entry `member` of a zip.

    Raises:
        BrokenImageError: empty, too large, no ordinary file, damaged; the message is the reason.
    """
    data = _read_file(file) if member is None else _read_member(file, member)
    if not data:
        raise BrokenImageError("the file is empty (0 bytes)")
    if len(data) > MAX_SAMPLE_BYTES:
        raise BrokenImageError(f"the file has more than the {MAX_SAMPLE_BYTES} bytes that are read")
    return data


def read_start(file: Path, member: int | None = None, size: int = 32) -> bytes:
    """The first bytes of a file, or of an entry of a zip; fewer where it ends.

    Raises:
        BrokenImageError: it cannot be read.
    """
    try:
        if member is None:
            with file.open("rb") as stream:
                return stream.read(size)
        archive = open_zip(file)
        with archive.open(archive.infolist()[member]) as entry:
            return entry.read(size)
    except Exception as error:  # damaged entries of a zip raise nearly anything
        raise BrokenImageError(f"the file cannot be read: {error}") from None


def read_sample(sample: SourceSample) -> bytes:
    """Bytes of one sample.

    Raises:
        BrokenImageError: empty, too large, no ordinary file, damaged; the message is the reason.
    """
    return read_place(sample.file, sample.member)


def sample_stamp(sample: SourceSample) -> str:
    """What changes with the content of a sample: size and times (a new file may have an old date), or size and CRC."""
    try:
        if sample.member is not None:
            entry = open_zip(sample.file).infolist()[sample.member]
            return f"{entry.file_size}-{entry.CRC:08x}"
        status = sample.file.stat()
    except (OSError, MissingError, IndexError):
        return "missing"
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
