"""Image files before their pixels: safe opening, the header, size and orientation.

Nothing here decodes a pixel, so that a decompression bomb, a FIFO or a folder costs no time and no memory.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import PIL
from PIL import Image, TiffImagePlugin, features

from dpsdata.contracts import BrokenImageError
from dpsdata.images.tiff import seek_main_page


@dataclass(frozen=True)
class FilePart:
    """A file that lies inside of another one, such as a member of a tar, or whose content is known beforehand.

    Attributes:
        file: the one that holds it.
        offset: of its first byte.
        size: bytes; None for the whole file.
        name: to tell of it.
        sha256: that its content must have; empty where none is known.
    """

    file: Path
    offset: int
    size: int | None
    name: str
    sha256: str = ""

    def __str__(self) -> str:
        return str(self.file) if self.size is None else f"{self.file}: {self.name}"

    def exists(self) -> bool:
        """Whether the file that holds it is there."""
        return self.file.is_file()

    def read_bytes(self) -> bytes:
        """Its content.

        Raises:
            OSError: the file that holds it cannot be read, or ends before.
            BrokenImageError: its content is another one, or the file is no ordinary one.
        """
        if self.size is None:
            with open_source(self.file) as stream:
                data = stream.read()
        else:
            with self.file.open("rb", buffering=0) as stream:
                data = os.pread(stream.fileno(), self.size, self.offset)
            if len(data) != self.size:
                raise OSError(errno.EIO, "cut off", str(self.file))
        if self.sha256 and hashlib.sha256(data).hexdigest() != self.sha256:
            raise BrokenImageError(f"{self.name} has changed since it was built; run `dpsdata verify`")
        return data


Source = str | os.PathLike[str] | bytes | FilePart

MAX_PIXELS = 120_000_000
MAX_FILE_BYTES = 512 * 2**20
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "AVIF")
_MAX_CHUNK_BYTES = 2**20
_ORIENTATION = 274


def open_source(source: Source) -> BinaryIO:
    """A stream over the file or the bytes; never blocks, and refuses what is no ordinary file."""
    stream: BinaryIO
    if isinstance(source, bytes):
        stream = io.BytesIO(source)
        size = len(source)
    elif isinstance(source, FilePart):
        size = 1 if source.size is None else source.size
        data = b""
        if 0 < size <= MAX_FILE_BYTES:
            try:
                data = source.read_bytes()
            except OSError as error:
                raise BrokenImageError(f"the file cannot be read: {error.strerror}") from None
        stream = io.BytesIO(data)
    else:
        path = Path(source)
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise BrokenImageError("a folder, not an image file")
            if not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait for a writer
                raise BrokenImageError("not an ordinary file but a pipe, a socket or a device")
            stream = path.open("rb")
        except FileNotFoundError:
            reason = "a link to a file that does not exist" if path.is_symlink() else "the file does not exist"
            raise BrokenImageError(reason) from None
        except (OSError, ValueError) as error:
            raise BrokenImageError(f"the file cannot be opened: {getattr(error, 'strerror', None) or error}") from None
        size = status.st_size
    if size == 0 or size > MAX_FILE_BYTES:
        stream.close()
        if size == 0:
            raise BrokenImageError("the file is empty (0 bytes)")
        raise BrokenImageError(f"the file has {size} bytes, more than the {MAX_FILE_BYTES} that are read")
    return stream


def open_header(stream: BinaryIO, max_pixels: int) -> Image.Image:
    """Read the header alone and refuse too many pixels before any is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters becomes an error or is handled below
            image = _open_known(stream)
            if image.format == "TIFF":
                seek_main_page(image)
    except BrokenImageError:
        raise
    except Image.DecompressionBombError as error:
        size = re.search(r"\d+", str(error))
        found = f"{int(size[0]):,} pixels" if size else "more pixels"
        raise BrokenImageError(
            f"the image has {found}, more than the {max_pixels:,} that are decoded; make it smaller"
        ) from None
    except PIL.UnidentifiedImageError:
        stream.seek(0)
        kind = image_kind(stream.read(32))
        if kind is not None:
            raise BrokenImageError(f"a {kind} image of a form that is not read, or cut off; save it as PNG") from None
        raise BrokenImageError(
            "not a JPEG, PNG, WebP, BMP, TIFF, GIF, PPM or AVIF image, or cut off in its header"
        ) from None
    except Exception as error:  # Pillow's parsers raise nearly anything on hostile bytes
        raise BrokenImageError(f"the header of the image is damaged: {one_line(error)}") from None
    width, height = image.size
    if width * height > max_pixels:
        raise BrokenImageError(
            f"the image has {width} x {height} pixels, more than the {max_pixels:,} that are decoded; make it smaller"
        )
    return image


def _open_known(stream: BinaryIO) -> Image.Image:
    """Open the formats that are read, and say of the known ones that are not what is missing."""
    start = stream.read(32)
    stream.seek(0)
    kind = image_kind(start)
    if kind == "HEIC":
        return _open_heic(stream)
    if kind == "AVIF" and not features.check("avif"):
        raise BrokenImageError("an AVIF image, which this Pillow cannot read; run `pip install -U 'pillow>=11.3'`")
    if kind in ("JPEG 2000", "JPEG XL"):
        raise BrokenImageError(f"a {kind} image, which is not read; convert it to PNG or JPEG")
    # The twin of the little-endian form that Pillow knows; both are decoded by `dpsdata.images.tiff`.
    TiffImagePlugin.OPEN_INFO.setdefault((b"MM", 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))
    image = Image.open(stream, formats=_FORMATS)
    key = image.info.get("transparency")
    if image.format == "PNG" and start[24] in (2, 4) and start[25] == 0 and isinstance(key, int):
        image.info["transparency"] = key * 255 // (2 ** start[24] - 1)  # Pillow widens the pixels and not their key
    return image


def _open_heic(stream: BinaryIO) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise BrokenImageError(
            "a HEIC image; run `pip install 'deep-plastic-surgery[heif]'` to read it, or export it as JPEG"
        ) from None
    pillow_heif.register_heif_opener()
    return Image.open(stream, formats=("HEIF",))


_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
)


def image_kind(start: bytes) -> str | None:
    """The kind of image that a file's first 32 bytes tell; None where they tell none."""
    if start[4:8] == b"ftyp":
        if start[8:12] in (b"avif", b"avis"):
            return "AVIF"
        is_heic = start[8:11] in (b"hei", b"hev") or start[8:12] in (b"mif1", b"msf1")
        # `mif1` alone says nothing of the codec: AVIF files bear it too, and name themselves among the brands behind.
        return None if not is_heic else "AVIF" if b"avif" in start[16:] else "HEIC"
    if start[:4] == b"RIFF":
        return "WebP" if start[8:12] == b"WEBP" else None
    return next((kind for mark, kind in _MAGIC if start.startswith(mark)), None)


def one_line(error: Exception) -> str:
    """The message of a decoder's error on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _add_late_chunks(image: Image.Image, stream: BinaryIO) -> None:
    """Take in what a PNG says of its orientation behind its pixels, which Pillow sees only after decoding them.

    That is an eXIf chunk, and EXIF or XMP in a chunk of text.
    """
    start = stream.tell()
    try:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            is_wanted = kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt") and length < _MAX_CHUNK_BYTES
            if not is_wanted:
                stream.seek(length + 4, os.SEEK_CUR)
                continue
            body = stream.read(length)
            stream.seek(4, os.SEEK_CUR)
            if kind == b"eXIf":
                image.info.setdefault("exif", b"Exif\0\0" + body)
                continue
            name = body.partition(b"\0")[0].decode("latin-1")
            if name in ("Raw profile type exif", "Raw profile type APP1", "XML:com.adobe.xmp"):
                image.info.setdefault(name.replace("APP1", "exif"), _chunk_text(kind, body))
    finally:
        stream.seek(start)


def _chunk_text(kind: bytes, body: bytes) -> str:
    _, _, rest = body.partition(b"\0")
    is_packed = kind == b"zTXt" or rest[:1] == b"\1"
    parts = {b"tEXt": rest, b"zTXt": rest[1:], b"iTXt": rest[2:].partition(b"\0")[2].partition(b"\0")[2]}
    rest = parts[kind]
    text = zlib.decompressobj().decompress(rest, _MAX_CHUNK_BYTES) if is_packed else rest
    return text.decode("utf-8" if kind == b"iTXt" else "latin-1", "replace")


def read_orientation(image: Image.Image, stream: BinaryIO) -> int:
    """EXIF orientation 1 to 8; 1 where the tag is absent, out of range or unreadable."""
    try:
        if image.format == "PNG":
            _add_late_chunks(image, stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = Image.Image.getexif(image).get(_ORIENTATION, 1)  # the PNG class's own form decodes every pixel
    except Exception:  # a damaged EXIF block is no reason to lose the photo
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def probe_image(source: Source, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height in px of the upright image, from the header alone.

    Raises:
        BrokenImageError: the same reasons as `read_photo`, as far as the header shows them.
    """
    with open_source(source) as stream:
        image = open_header(stream, max_pixels)
        width, height = image.size
        sideways = image.format != "TIFF" and read_orientation(image, stream) >= 5  # Pillow turns a TIFF's size itself
    return (height, width) if sideways else (width, height)
