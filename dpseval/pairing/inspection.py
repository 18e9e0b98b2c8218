"""Checks before the long work: headers of all pictures, and the values of all mask files."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from dpsdata.contracts import BrokenImageError, MissingError
from dpsdata.images.codec import probe_image, read_grey
from dpsdata.images.header import MAX_PIXELS, open_header, open_source, read_orientation
from dpsdata.runtime.processes import core_count
from dpseval.pairing.files import PairingIssue, PhotoFiles, SetKey, StoredFile
from dpseval.pairing.pairs import Pairing

_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_PNG_BITS_OFFSET = 24
_TIFF_BITS_TAG = 258


@dataclass(frozen=True)
class ImageHeader:
    """What the header of a picture says; width and height in px, upright."""

    width: int
    height: int
    mode: str
    has_alpha: bool
    bits: int
    orientation: int


def read_header(path: StoredFile) -> ImageHeader:
    """Read the header of a picture, and none of its pixels.

    Raises:
        BrokenImageError: no picture, or damaged in its header.
    """
    with open_source(path) as stream:
        head = stream.read(_PNG_BITS_OFFSET + 1)
        stream.seek(0)
        image = open_header(stream, MAX_PIXELS)
        bits = 8
        if image.format == "PNG" and len(head) > _PNG_BITS_OFFSET:
            bits = head[_PNG_BITS_OFFSET]
        elif image.format == "TIFF":
            value = getattr(image, "tag_v2", {}).get(_TIFF_BITS_TAG, 8)
            bits = max(value) if isinstance(value, tuple) else int(value)
        has_alpha = image.mode in _ALPHA_MODES or "transparency" in image.info
        width, height = image.size
        orientation = 1 if image.format == "TIFF" else read_orientation(image, stream)
        if orientation >= 5:
            width, height = height, width
        return ImageHeader(width, height, image.mode, has_alpha, bits, orientation)


def inspect_pairs(pairing: Pairing) -> tuple[Pairing, tuple[PairingIssue, ...]]:
    """Look at every picture without decoding photos; mask files are read and kept.

    Returns:
        The pairs with the pixels of mask files, and what is wrong: `wrong-size`, `unreadable`, `16-bit`, `alpha`,
        `color-mode`, `exif-rotated`, `soft-mask`, `empty-mask`.

    Raises:
        MissingError: a photo of the dataset is missing or damaged.
    """
    with ThreadPoolExecutor(min(8, core_count())) as pool:
        done = list(pool.map(_inspect_photo, pairing.photos))
    photos = tuple(photo for photo, _ in done)
    return replace(pairing, photos=photos), tuple(finding for _, found in done for finding in found)


def _inspect_photo(photo: PhotoFiles) -> tuple[PhotoFiles, list[PairingIssue]]:
    findings: list[PairingIssue] = []
    try:
        width, height = probe_image(photo.truth)
    except BrokenImageError as error:
        raise MissingError(f"{photo.truth}: {error}; `dpsdata verify` checks the dataset") from None
    if (width, height) != (photo.size, photo.size):
        raise MissingError(
            f"{photo.truth}: {width} x {height} px, expected {photo.size} x {photo.size}; "
            "`dpsdata verify` checks the dataset"
        )
    for output in photo.outputs:
        findings += _check_header(output.path, photo, output.key, ("RGB",))
        if output.refined is not None:
            findings += _check_header(output.refined, photo, output.key, ("RGB", "L", "1", "P"))
    if photo.sketch is not None and photo.sketch.exists():
        findings += _check_header(photo.sketch, photo, None, None)
    if photo.mask.path is not None:
        found = list(_check_header(photo.mask.path, photo, None, ("RGB", "L", "1", "P")))
        if not found:
            photo, found = _read_mask(photo)
        findings += found
    return photo, findings


def _check_header(
    path: StoredFile, photo: PhotoFiles, key: SetKey | None, modes: tuple[str, ...] | None
) -> Iterable[PairingIssue]:
    """Findings of one header; `modes` None for a drawn sketch, which may be of any kind that can be read."""

    def finding(kind: str, reason: str) -> PairingIssue:
        return PairingIssue(kind, str(path), reason, photo.id, key)

    try:
        header = read_header(path)
    except BrokenImageError as error:
        yield finding("unreadable", str(error))
        return
    if (header.width, header.height) != (photo.size, photo.size):
        yield finding("wrong-size", f"{header.width} x {header.height} px, expected {photo.size} x {photo.size}")
    if modes is None:
        return
    if header.orientation != 1:
        yield finding("exif-rotated", f"EXIF orientation {header.orientation}; store it upright")
    if header.bits > 8:
        yield finding("16-bit", f"{header.bits} bits a channel; round it to 8 bits")
    elif header.has_alpha:
        yield finding("alpha", f"mode {header.mode} with transparency; store it as RGB")
    elif header.mode not in modes:
        yield finding("color-mode", f"mode {header.mode}; store it as RGB")


def _read_mask(photo: PhotoFiles) -> tuple[PhotoFiles, list[PairingIssue]]:
    path = photo.mask.path
    if path is None:
        return photo, []
    try:
        grey = read_grey(path)
    except BrokenImageError as error:
        return photo, [PairingIssue("unreadable", str(path), str(error), photo.id)]
    soft_count = int(((grey != 0) & (grey != 255)).sum())
    hole = grey > 127
    if soft_count:
        reason = f"{soft_count} pixels between black and white; store only 0 and 255"
        return photo, [PairingIssue("soft-mask", str(path), reason, photo.id)]
    if not hole.any():
        return photo, [PairingIssue("empty-mask", str(path), "black all over; the hole is white", photo.id)]
    return replace(photo, mask=replace(photo.mask, packed=np.packbits(hole))), []
