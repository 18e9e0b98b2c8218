"""Listing the image files of a folder or a zip, and the reasons for everything that is not taken."""

from __future__ import annotations

import os
import stat
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dpsdata.sources.read import MAX_SAMPLE_BYTES, open_zip

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif"})
MAPPING_NAME = "CelebA-HQ-to-CelebA-mapping.txt"
# Half a million label PNGs of CelebAMask-HQ: not photos, and slow to list.
_LABEL_FOLDER = "CelebAMask-HQ-mask-anno"
_IGNORED_FOLDERS = frozenset({"__MACOSX", _LABEL_FOLDER})
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
        other_suffixes: suffixes of all other files.
        marks: names of folders and files that tell layouts apart.
    """

    entries: list[Entry] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    zips: list[Entry] = field(default_factory=list)
    other_suffixes: set[str] = field(default_factory=set)
    marks: set[str] = field(default_factory=set)


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image; its content decides later."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED_FOLDERS


def _name_fault(path: str) -> str | None:
    """Why a path cannot become an ID, or None."""
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in path):
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


class _FolderScan:
    """Walks a folder without following links to folders."""

    def __init__(self, root: Path, exclude: Path | None) -> None:
        self.root = root.resolve()
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
        for item in items:
            if not _is_ignored(item.name):
                self._take(item, prefix + item.name)

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
        elif item.name.lower().endswith(".zip") and item.is_file(follow_symlinks=False):
            self.scan.zips.append(Entry(path, Path(item.path)))
        else:
            self.scan.other_suffixes.add(PurePosixPath(item.name).suffix.lower())

    def _file_fault(self, item: os.DirEntry[str]) -> str | None:
        if item.is_symlink():
            try:
                target = Path(item.path).resolve(strict=True)
            except FileNotFoundError:
                return "a link to a file that does not exist"
            except (OSError, RuntimeError):
                return "a link that leads in a circle or cannot be followed"
            if not target.is_relative_to(self.root):
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
        path = info.filename.replace("\\", "/")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts or any(_is_ignored(part) and part != ".." for part in parts):
            scan.marks.update(set(parts) & {_LABEL_FOLDER})
            continue
        scan.marks.update(set(parts) & {MAPPING_NAME})
        if not is_image_name(parts[-1]):
            if not info.is_dir():
                scan.other_suffixes.add(PurePosixPath(parts[-1]).suffix.lower())
            continue
        fault = "a folder, not an image file" if info.is_dir() else _member_fault(info, path)
        if fault is None:
            scan.entries.append(Entry(prefix + "/".join(parts), file, number))
        else:
            scan.skipped.append((_printable(prefix + path), fault))
    return scan
