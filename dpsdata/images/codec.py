"""The only file that decodes or encodes images.

One definition of the pixels of a file, whatever its name says (the content decides):

* formats: JPEG, PNG, WebP, BMP, TIFF, GIF, PPM (with PGM and PBM), AVIF where Pillow reads it, HEIC with the extra
  `[heif]`; of several frames the first, in a TIFF the first that is no small copy of another;
* upright: EXIF orientation 1 to 8 is applied; colour profiles and gamma tags are ignored;
* 8 bits are decoded by Pillow; 16 bits a channel by OpenCV, since Pillow truncates them, and brought
  to 8 bits by round(value / 257), so that every 16-bit form equals its 8-bit twin;
* transparent pixels lie on white (on black for a mask, so that what is not painted is no hole);
* the alpha of a BMP is not read where all of it is 0: such files come from writers that leave it unset;
* CMYK is converted without a profile; ink in a JPEG is inverted, with or without Adobe's marker.

Reads raise `BrokenImageError` with one sentence, writes raise `EnvironmentFailure`; writes are atomic.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dpsdata.contracts import BrokenImageError, UsageError
from dpsdata.images.arrays import (
    RESAMPLERS,
    crop_square,
    photo_to_tensor,
    resize_nearest,
    resize_photo,
    tensor_to_photo,
)
from dpsdata.images.header import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    Source,
    one_line,
    open_header,
    open_source,
    probe_image,
    read_orientation,
)
from dpsdata.images.png_chunks import encode_grey_alpha
from dpsdata.images.tiff import needs_own_reader, read_samples, sample_bits
from dpsdata.runtime.files import write_bytes_atomic, write_text_atomic

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "RESAMPLERS",
    "Source",
    "crop_square",
    "encode_jpeg",
    "encode_layers",
    "encode_png",
    "is_beyond_pillow",
    "photo_to_tensor",
    "probe_image",
    "read_alpha",
    "read_deep",
    "read_edges",
    "read_grey",
    "read_layer",
    "read_mask",
    "read_photo",
    "read_sketch",
    "resize_nearest",
    "resize_photo",
    "tensor_to_photo",
    "turn_upright",
    "unpack",
    "write_bytes_atomic",
    "write_edges",
    "write_mask",
    "write_photo",
    "write_sketch",
    "write_text_atomic",
]

Pixels = npt.NDArray[Any]

# A file of run lengths: as small as zlib's best on sketches and masks, and several times faster on photos.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
# One filter for the whole file, where OpenCV lets us choose (4.11 and later), instead of a trial of all on every row:
# twice as fast, 4 % larger on photos and edge maps, smaller on lines and masks.
_CAN_FILTER = hasattr(cv2, "IMWRITE_PNG_FILTER")
_FLAT_FILTER = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE) if _CAN_FILTER else ()
_DEEP_FILTER = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP) if _CAN_FILTER else ()


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror pixels (H, W, ...) as their EXIF orientation, 1 to 8, asks."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def is_beyond_pillow(image: Image.Image, data: bytes) -> bool:
    """Whether Pillow would cut or garble the samples: those of 16 bits, and planes of TIFF."""
    if image.format == "PNG":
        return data[24] == 16
    if image.format == "TIFF":
        depth = sample_bits(getattr(image, "tag_v2", {}))
        return image.mode not in ("CMYK", "LAB", "YCbCr") and needs_own_reader(image, depth)
    return image.format == "PPM" and image.mode == "I"


def _flatten(color: Pixels, alpha: Pixels, background: int) -> Pixels:
    """Lay colour with alpha over a black (0) or white (1) ground, in integers, rounded to nearest."""
    top = np.uint32(np.iinfo(color.dtype).max)
    weight = alpha.astype(np.uint32)[..., None]
    return ((color * weight + background * top * (top - weight) + top // 2) // top).astype(color.dtype)


def unpack(data: bytes) -> Pixels | None:
    """Decode by OpenCV, whose channels are blue, green, red; None where it cannot."""
    pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels


def _decode_16(image: Image.Image, data: bytes, background: int) -> Pixels:
    if image.format == "PPM":
        return np.asarray(image).astype(np.uint16)
    if image.format == "TIFF":
        color, alpha, is_multiplied = read_samples(image, data, unpack)
        if alpha is None:
            return color
        color, weight = color.reshape(*alpha.shape, -1), alpha
        if is_multiplied:
            top = np.iinfo(alpha.dtype).max
            ground = background * (np.uint32(top) - alpha.astype(np.uint32))
            flat: Pixels = np.minimum(color + ground[..., None], top).astype(alpha.dtype)
        else:
            flat = _flatten(color, weight, background)
        return flat if flat.shape[2] == 3 else flat[..., 0]
    key = image.info.get("transparency")
    image.verify()  # the check sums: OpenCV alone would print to the screen on a cut file
    pixels = unpack(data)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("its 16-bit pixels could not be decoded")
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if isinstance(key, (int, tuple)):  # one colour is transparent; some versions of OpenCV make it an alpha, some not
        color = pixels[..., 2::-1] if pixels.ndim == 3 else pixels
        is_key = color == key if color.ndim == 2 else (color == np.array(key)).all(axis=2)
        return np.where(is_key if color.ndim == 2 else is_key[..., None], np.uint16(background * 65535), color)
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 2:
        return _flatten(pixels[..., :1], pixels[..., 1], background)[..., 0]
    if pixels.shape[2] == 4:
        pixels = _flatten(pixels[..., :3], pixels[..., 3], background)
    return pixels[..., ::-1]


def _decode_8(image: Image.Image, background: int) -> Pixels:
    image.load()
    if image.mode in ("F", "I", "LAB", "HSV") or image.mode.startswith("I;"):
        raise BrokenImageError(f"pixels of the kind {image.mode} are not read; save it as RGB with 8 or 16 bits")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        layers = np.asarray(image.convert("RGBA"))
        if image.format != "BMP" or layers[..., 3].any():
            return _flatten(layers[..., :3], layers[..., 3], background)
        return layers[..., :3]
    if image.mode not in ("L", "RGB"):  # also of its own mode, `convert` would copy every pixel
        image = image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(image)


def _decode(source: Source, max_pixels: int, background: int = 1) -> Pixels:
    """Upright pixels, (H, W) or (H, W, 3) RGB, uint8 or uint16, over black (0) or white (1)."""
    return _decode_over(source, max_pixels, (background,))[0]


def _decode_over(source: Source, max_pixels: int, grounds: tuple[int, ...]) -> list[Pixels]:
    """As `_decode`, over several grounds; only pixels of 16 bits are decoded again for each."""
    with open_source(source) as opened:
        data = opened.read(MAX_FILE_BYTES)
    stream = io.BytesIO(data)
    image = open_header(stream, max_pixels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            deep = is_beyond_pillow(image, data)
            # Pillow turns a TIFF by itself.
            orientation = 1 if image.format == "TIFF" and not deep else read_orientation(image, stream)
            if deep:  # its check sums can be looked at but once
                again = (open_header(io.BytesIO(data), max_pixels) for _ in grounds[1:])
                found = [_decode_16(each, data, ground) for each, ground in zip((image, *again), grounds, strict=True)]
            else:
                found = [_decode_8(image, ground) for ground in grounds]
    except BrokenImageError:
        raise
    except MemoryError:
        raise BrokenImageError("the image does not fit into memory") from None
    except Exception as error:  # decoders raise nearly anything on hostile bytes
        raise BrokenImageError(f"the image is cut off or damaged: {one_line(error)}") from None
    return [turn_upright(pixels, orientation) for pixels in found]


def _to_8_bits(pixels: Pixels) -> Pixels:
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _to_grey(pixels: Pixels) -> Pixels:
    """Luma of ITU-R BT.601 in 16-bit fixed point; grey stays exactly as it is."""
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[..., channel].astype(np.uint64) for channel in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(pixels.dtype)


def read_photo(source: Source, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Read any photo as upright 8-bit RGB.

    Args:
        source: a path, or the content of a file.
        max_pixels: refuse an image of more pixels before decoding it.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        BrokenImageError: the file is no image, damaged, too large, or no ordinary file.
    """
    pixels = _to_8_bits(_decode(source, max_pixels))
    return np.ascontiguousarray(np.stack([pixels] * 3, axis=2) if pixels.ndim == 2 else pixels)


def read_deep(source: Source, max_pixels: int = MAX_PIXELS, background: int = 1) -> Pixels:
    """Read a photo in its own depth, upright: uint8 or uint16, (H, W) or (H, W, 3); else as `read_photo`.

    Transparent pixels lie over white, or over black where `background` is 0.
    """
    return _decode(source, max_pixels, background)


def read_grey(source: Source, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Read an image as uint8 (H, W) grey; see `read_photo` for the arguments and errors."""
    return _to_grey(_to_8_bits(_decode(source, max_pixels)))


def read_alpha(source: Source, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Read how opaque an image is as uint8 (H, W), 255 = opaque; see `read_photo` for the arguments and errors."""
    # Laid over white and over black, a pixel differs by what shines through; so every format has one way to here.
    light, dark = (_to_8_bits(each).astype(np.int16) for each in _decode_over(source, max_pixels, (1, 0)))
    through = light - dark
    return (255 - (through if through.ndim == 2 else through[..., 0])).astype(np.uint8)


def read_layer(source: Source, max_pixels: int = MAX_PIXELS) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    """Read a drawing as it was painted: colours that nothing shines through, and how opaque each pixel is.

    Args:
        source: a path, or the content of a file.
        max_pixels: refuse an image of more pixels before decoding it.

    Returns:
        uint8 (H, W) or (H, W, 3) RGB, where a transparent pixel is black; and uint8 (H, W), 255 = opaque.

    Raises:
        BrokenImageError: see `read_photo`.
    """
    light, dark = _decode_over(source, max_pixels, (1, 0))
    if dark.dtype == np.uint16 and dark.max() < 256 and np.array_equal(light, dark):
        # Numbers of 8 bits in 16: masks of 0 and 1 or of 0 and 255, as NumPy users save them.
        return dark.astype(np.uint8), np.full(dark.shape[:2], 255, np.uint8)
    light, dark = _to_8_bits(light), _to_8_bits(dark)
    through = light.astype(np.int16) - dark
    alpha = (255 - (through if through.ndim == 2 else through[..., 0])).astype(np.uint8)
    if alpha.min() == 255:
        return dark, alpha
    weight = np.maximum(alpha, 1).astype(np.float32)
    color = dark * (255 / (weight if dark.ndim == 2 else weight[..., None]))
    return np.clip(np.rint(color), 0, 255).astype(np.uint8), alpha


def read_mask(source: Source, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Read a mask that we wrote (white, grey > 127, is the hole) as uint8 (H, W), hole = 1; transparent is black.

    Masks of others are read by `dpsdata.masks.reading`.
    """
    return (_to_grey(_to_8_bits(_decode(source, max_pixels, background=0))) > 127).astype(np.uint8)


def read_sketch(source: Source, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Read a sketch that we wrote (black, grey <= 127, is the line) as uint8 (H, W), line = 1; transparent is white.

    Drawings of others are read by `dpsdata.sketch.reading`.
    """
    return (read_grey(source, max_pixels) <= 127).astype(np.uint8)


def read_edges(source: Source, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint16]:
    """Read an edge map as uint16 (H, W), 65535 = edge; an 8-bit file is multiplied by 257."""
    pixels = _to_grey(_decode(source, max_pixels))
    return pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint16) * np.uint16(257)


def encode_png(pixels: Pixels) -> bytes:
    """Encode uint8 (H, W), uint8 (H, W, 3) RGB or uint16 (H, W) as PNG, without loss and always to the same bytes."""
    grey = pixels.ndim == 2 and pixels.dtype in (np.uint8, np.uint16)
    color = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
    if not (grey or color) or not pixels.size:
        raise UsageError(
            "a PNG is made of uint8 (H, W), uint8 (H, W, 3) or uint16 (H, W) pixels, "
            f"got {pixels.dtype} of shape {pixels.shape}"
        )
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if color else np.ascontiguousarray(pixels)
    flat = grey and pixels.dtype == np.uint8
    return bytes(cv2.imencode(".png", ordered, (*_PNG_OPTIONS, *(_FLAT_FILTER if flat else _DEEP_FILTER)))[1])


def encode_layers(layers: Pixels) -> bytes:
    """Encode uint8 or uint16 (H, W, C) as PNG: grey (1), grey and alpha (2), RGB (3), or RGB and alpha (4)."""
    count = layers.shape[2]
    if count == 2:
        return encode_grey_alpha(layers)
    if count == 1 or (count == 3 and layers.dtype == np.uint8):
        return encode_png(np.ascontiguousarray(layers[..., 0]) if count == 1 else layers)
    ordered = cv2.cvtColor(layers, cv2.COLOR_RGB2BGR if count == 3 else cv2.COLOR_RGBA2BGRA)
    return bytes(cv2.imencode(".png", ordered, (*_PNG_OPTIONS, *_DEEP_FILTER))[1])


def encode_jpeg(rgb: npt.NDArray[np.uint8], quality: int = 90) -> bytes:
    """Encode uint8 (H, W, 3) RGB as JPEG of a quality from 1 to 100; for pages and previews, as it loses detail."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise UsageError(f"a JPEG is made of uint8 (H, W, 3) pixels, got {rgb.dtype} of shape {rgb.shape}")
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))[1])


def write_photo(path: str | os.PathLike[str], rgb: npt.NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, 3) RGB as the suffix says: `.png`, or `.jpg` and `.jpeg` (quality 95)."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"{os.fspath(path)}: expected a name that ends in .png, .jpg or .jpeg")
    write_bytes_atomic(path, encode_png(rgb) if suffix == ".png" else encode_jpeg(rgb, 95))


def _check_binary(name: str, pixels: Pixels) -> npt.NDArray[np.bool_]:
    if pixels.ndim != 2 or not bool(((pixels == 0) | (pixels == 1)).all()):
        raise UsageError(f"{name}: expected an array (H, W) of 0 and 1, got {pixels.dtype} of shape {pixels.shape}")
    return np.asarray(pixels == 1)


def write_mask(path: str | os.PathLike[str], mask: Pixels) -> None:
    """Write (H, W) of 0 and 1, hole = 1, as an 8-bit PNG with the hole white."""
    write_bytes_atomic(path, encode_png(_check_binary("mask", mask).astype(np.uint8) * np.uint8(255)))


def write_sketch(path: str | os.PathLike[str], sketch: Pixels) -> None:
    """Write (H, W) of 0 and 1, line = 1, as an 8-bit PNG with the line black on white."""
    write_bytes_atomic(path, encode_png((~_check_binary("sketch", sketch)).astype(np.uint8) * np.uint8(255)))


def write_edges(path: str | os.PathLike[str], edges: npt.NDArray[np.uint16]) -> None:
    """Write uint16 (H, W), 65535 = edge, as a 16-bit PNG."""
    if edges.ndim != 2 or edges.dtype != np.uint16:
        raise UsageError(f"edges: expected uint16 (H, W), got {edges.dtype} of shape {edges.shape}")
    write_bytes_atomic(path, encode_png(edges))
