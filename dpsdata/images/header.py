"""Image files before their pixels: safe opening, the header, size and orientation.

Nothing here decodes a pixel, so that a decompression bomb, a FIFO or a folder costs no time and no memory.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import PIL
from PIL import Image

from dpsdata.contracts import BrokenImageError


@dataclass(frozen=True)
class FilePart:
    """A file that lies inside of another one, such as a member of a tar.

    Attributes:
        file: the one that holds it.
        offset: of its first byte.
        size: bytes.
        name: to tell of it.
    """

    file: Path
    offset: int
    size: int
    name: str

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"

    def exists(self) -> bool:
        """Whether the file that holds it is there."""
        return self.file.is_file()

    def read_bytes(self) -> bytes:
        """Its content.

        Raises:
            OSError: the file that holds it cannot be read, or ends before.
        """
        with self.file.open("rb", buffering=0) as stream:
            data = os.pread(stream.fileno(), self.size, self.offset)
        if len(data) != self.size:
            raise OSError(errno.EIO, "cut off", str(self.file))
        return data


Source = str | os.PathLike[str] | bytes | FilePart

MAX_PIXELS = 120_000_000
MAX_FILE_BYTES = 512 * 2**20
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_ORIENTATION = 274


def open_source(source: Source) -> BinaryIO:
    """A stream over the file or the bytes; never blocks, and refuses what is no ordinary file."""
    stream: BinaryIO
    if isinstance(source, bytes):
        stream = io.BytesIO(source)
        size = len(source)
    elif isinstance(source, FilePart):
        size = source.size
        if 0 < size <= MAX_FILE_BYTES:
            try:
                stream = io.BytesIO(source.read_bytes())
            except OSError as error:
                raise BrokenImageError(f"the file cannot be read: {error.strerror}") from None
        else:
            stream = io.BytesIO()
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
            image = Image.open(stream, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise BrokenImageError(f"the image has more than the {max_pixels} pixels that are decoded") from None
    except PIL.UnidentifiedImageError:
        raise BrokenImageError("not a JPEG, PNG, WebP, BMP, TIFF or GIF image, or cut off in its header") from None
    except Exception as error:  # Pillow's parsers raise nearly anything on hostile bytes
        raise BrokenImageError(f"the header of the image is damaged: {one_line(error)}") from None
    width, height = image.size
    if width * height > max_pixels:
        raise BrokenImageError(f"the image has {width} x {height} pixels, more than the {max_pixels} that are decoded")
    return image


def one_line(error: Exception) -> str:
    """The message of a decoder's error on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _late_png_exif(stream: BinaryIO) -> bytes | None:
    """The eXIf chunk of a PNG wherever it stands; Pillow sees one behind the pixels only after decoding."""
    start = stream.tell()
    try:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                return stream.read(length) if length < 2**20 else None
            stream.seek(length + 4, os.SEEK_CUR)
        return None
    finally:
        stream.seek(start)


def read_orientation(image: Image.Image, stream: BinaryIO) -> int:
    """EXIF orientation 1 to 8; 1 where the tag is absent, out of range or unreadable."""
    try:
        if image.format == "PNG" and "exif" not in image.info and (chunk := _late_png_exif(stream)) is not None:
            image.info["exif"] = b"Exif\0\0" + chunk
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
