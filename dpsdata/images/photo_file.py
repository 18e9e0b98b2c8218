"""A photo with all that its file carries, and the PNG of an edit that carries the same.

`codec.read_photo` is what datasets are made of: 8 bits, opaque, no profile. An edit gives a person's photo back, so
here profile, transparency, depth, EXIF, XMP, density and texts stay: only the pixels that were painted are others.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from dpsdata.images import codec, png_chunks
from dpsdata.images.color_profile import ColorSpace, inks_to_srgb, profile_kind
from dpsdata.images.header import MAX_PIXELS, Source, one_line, open_header, open_source, read_orientation
from dpsdata.images.tiff import read_samples

Layers = npt.NDArray[Any]

# Tags of the picture's storage, which another file has others of; the last ones are carried elsewhere.
_STORAGE_TAGS = (
    *range(254, 260), 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347,
    513, 514, 529, 530, 531, 532, 700, 33723, 34377, 34675,
)  # fmt: skip
_MAX_SEGMENT = 65_000
_ORIENTATION, _SIZE_TAGS = 274, (40962, 40963)
_PNG_KINDS = (b"cICP", b"sRGB", b"gAMA", b"cHRM", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME")


@dataclass(frozen=True, kw_only=True)
class PhotoMetadata:
    """What a photo's file says beside its pixels.

    Attributes:
        profile: ICC profile that fits the pixels.
        exif: EXIF block, upright, without the small preview, which would show the photo before the edit.
        xmp: XMP packet, upright.
        density: dots an inch, across and down.
        chunks: texts, times and colour tags of a PNG, whole chunks as they came.
        texts: keyword and text of what other formats say.
    """

    profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    density: tuple[float, float] | None = None
    chunks: bytes = b""
    texts: tuple[tuple[str, str], ...] = ()

    def to_chunks(self) -> bytes:
        """All of it, as chunks of a PNG."""
        parts = [self.chunks]
        if self.profile is not None:
            parts.append(png_chunks.profile_chunk(self.profile))
        if self.density is not None:
            parts.append(png_chunks.density_chunk(*self.density))
        if self.exif is not None:
            parts.append(png_chunks.exif_chunk(self.exif))
        if self.xmp is not None:
            parts.append(png_chunks.xmp_chunk(self.xmp))
        parts += [png_chunks.text_chunk(*pair) for pair in self.texts]
        return b"".join(parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoFile:
    """One photo.

    Attributes:
        pixels: uint8 (H, W, 3), upright, in the photo's own colour space, transparent pixels laid over white.
        layers: as the file has them, upright: uint8 or uint16 (H, W, C), grey (1), grey and alpha (2), RGB (3) or RGB
            and alpha (4).
        colors: the photo's colour space; None for sRGB, and where it is not said.
        metadata: what the file says beside its pixels.
        notes: what a person should know of what could not be kept.
    """

    pixels: npt.NDArray[np.uint8]
    layers: Layers
    colors: ColorSpace | None = None
    metadata: PhotoMetadata = field(default_factory=PhotoMetadata)
    notes: tuple[str, ...] = ()

    @property
    def alpha(self) -> Layers | None:
        """How opaque each pixel is, (H, W) in the photo's own depth; None for a photo without."""
        return self.layers[..., -1] if self.layers.shape[2] in (2, 4) else None

    def cut(self, rows: slice, columns: slice) -> PhotoFile:
        """A part of the photo, with all that the file says."""
        pixels = np.ascontiguousarray(self.pixels[rows, columns])
        return replace(self, pixels=pixels, layers=np.ascontiguousarray(self.layers[rows, columns]))

    def encode_edit(self, edited: npt.NDArray[np.uint8] | None = None) -> bytes:
        """The PNG of an edit of this photo, always the same bytes; a pixel that is as it was keeps all its values.

        Args:
            edited: uint8 (H, W, 3) like `pixels`; None for the photo itself.
        """
        layers = self.layers if edited is None else self._put(edited)
        return png_chunks.put_chunks(codec.encode_layers(layers), self.metadata.to_chunks())

    def with_xmp(self, xmp: bytes) -> PhotoFile:
        """This photo with another XMP packet."""
        return replace(self, metadata=replace(self.metadata, xmp=xmp))

    def encode_jpeg(self, edited: npt.NDArray[np.uint8], quality: int = 95) -> bytes:
        """The JPEG of an edit, over white, with profile, EXIF, XMP and density; pixels outside change a little.

        Args:
            edited: uint8 (H, W, 3) like `pixels`.
            quality: 1 to 100; chroma is kept at full size.
        """
        data = self.metadata
        is_grey = data.profile is not None and profile_kind(data.profile) == "GRAY"
        packed = io.BytesIO()
        xmp = b"" if data.xmp is None else b"http://ns.adobe.com/xap/1.0/\0" + data.xmp
        Image.fromarray(edited[..., 0] if is_grey else edited).save(
            packed,
            "JPEG",
            quality=quality,
            subsampling=0,
            icc_profile=data.profile,
            exif=data.exif if data.exif is not None and len(data.exif) < _MAX_SEGMENT else b"",
            extra=b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp if 0 < len(xmp) < _MAX_SEGMENT else b"",
            dpi=(0, 0) if data.density is None else tuple(round(value) for value in data.density),
        )
        return packed.getvalue()

    def encode_plain(self, rgb: npt.NDArray[np.uint8]) -> bytes:
        """The PNG of another picture in this photo's colours, uint8 (H, W, 3), such as several side by side.

        Of what the file says, XMP alone comes with the colours.
        """
        profile, chunks = self.metadata.profile, b""
        if self.metadata.xmp is not None:
            chunks = png_chunks.xmp_chunk(self.metadata.xmp)
        if profile is None or profile_kind(profile) != "RGB":
            shown = rgb if self.colors is None else self.colors.to_srgb(rgb)
            return png_chunks.put_chunks(codec.encode_png(shown), chunks)
        return png_chunks.put_chunks(codec.encode_png(rgb), png_chunks.profile_chunk(profile) + chunks)

    def _put(self, edited: npt.NDArray[np.uint8]) -> Layers:
        changed = (edited != self.pixels).any(axis=2)
        layers, alpha = self.layers.copy(), self.alpha
        colors = edited[changed].astype(np.float64)
        if alpha is not None:
            # What is seen over white is the edit, so the colour under a half transparent pixel is a stronger one.
            shown = alpha[changed].astype(np.float64)[:, None] / np.iinfo(layers.dtype).max
            colors = np.where(shown > 0, 255 + (colors - 255) / np.maximum(shown, 1e-9), 255)
        if layers.shape[2] < 3:
            colors = colors @ np.array([[0.299], [0.587], [0.114]])
        values = np.clip(np.round(colors), 0, 255).astype(layers.dtype)
        count = layers.shape[2] - (alpha is not None)
        if alpha is not None:
            values = np.where(alpha[changed][:, None] > 0, values * _step(layers), layers[changed][:, :count])
        else:
            values = values * _step(layers)
        layers[changed, :count] = values
        return layers


def read_photo_file(source: Source, max_pixels: int = MAX_PIXELS) -> PhotoFile:
    """Read a photo with what its file carries.

    Args:
        source: a path, or the content of a file.
        max_pixels: refuse an image of more pixels before decoding it.

    Raises:
        BrokenImageError: as of `read_photo`.
    """
    with open_source(source) as opened:
        data = opened.read()
    stream = io.BytesIO(data)
    image = open_header(stream, max_pixels)
    orientation = read_orientation(image, stream)
    notes: list[str] = []
    metadata = _read_metadata(image, data, notes)
    if image.mode == "CMYK":
        notes.append("the photo is CMYK, which a PNG cannot hold, so the result is in sRGB")
        layers = _read_inks(image, data, metadata, notes, max_pixels)
        metadata = replace(metadata, profile=None)
    else:
        layers = _read_layers(image, data, orientation, max_pixels)
    kind = "" if metadata.profile is None else profile_kind(metadata.profile)
    if metadata.profile is not None and kind != "RGB" and (kind != "GRAY" or layers.shape[2] > 2):
        told = f"of another kind ({kind})" if kind else "damaged"
        notes.append(f"the photo's colour profile is {told}, so it is left out")
        metadata = replace(metadata, profile=None)
    colors = _read_colors(metadata.profile, notes)
    if kind == "RGB" and layers.shape[2] < 3:
        # A PNG of grey pixels may not carry a profile of three channels, so it becomes one of three equal ones.
        layers = np.concatenate([layers[..., :1]] * 3 + [layers[..., 1:]], axis=2)
    has_alpha = layers.shape[2] in (2, 4)
    pixels = codec.read_photo(data, max_pixels) if has_alpha else _to_8_bit_rgb(layers)
    return PhotoFile(pixels=pixels, layers=layers, colors=colors, metadata=metadata, notes=tuple(dict.fromkeys(notes)))


def _step(layers: Layers) -> Any:
    return layers.dtype.type(1 if layers.dtype == np.uint8 else 257)


def _to_8_bit_rgb(layers: Layers) -> npt.NDArray[np.uint8]:
    rgb = np.repeat(layers, 3, axis=2) if layers.shape[2] == 1 else layers
    if rgb.dtype == np.uint16:
        rgb = ((rgb.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(rgb)


def _read_inks(image: Image.Image, data: bytes, metadata: PhotoMetadata, notes: list[str], max_pixels: int) -> Layers:
    if metadata.profile is None or profile_kind(metadata.profile) != "CMYK":
        return codec.read_photo(data, max_pixels)
    try:
        image.load()
        rgb = np.asarray(inks_to_srgb(image, metadata.profile))
        return codec.turn_upright(rgb, 1 if image.format == "TIFF" else read_orientation(image, io.BytesIO(data)))
    except (OSError, ValueError) as error:
        notes.append(f"its colour profile cannot be used ({one_line(error)})")
        return codec.read_photo(data, max_pixels)


def _read_layers(image: Image.Image, data: bytes, orientation: int, max_pixels: int) -> Layers:
    """All channels as they are, upright, also the colours that lie under transparent pixels."""
    layers = codec.read_deep(data, max_pixels)
    layers = np.ascontiguousarray(layers if layers.ndim == 3 else layers[..., None])
    is_deep = codec.is_beyond_pillow(image, data)
    if image.format == "TIFF" and is_deep:
        color, alpha, is_multiplied = read_samples(image, data, codec.unpack)
        if alpha is None:
            return layers
        if not is_multiplied:
            together = np.concatenate([color.reshape(*alpha.shape, -1), alpha[..., None]], axis=2)
            return codec.turn_upright(together, orientation)
    elif "transparency" not in image.info and image.mode not in ("RGBA", "LA", "PA", "La", "RGBa"):
        return layers
    elif not is_deep:
        if image.format == "BMP" and (codec.read_alpha(data, max_pixels) == 255).all():
            return layers  # its alpha was left unset
        image.load()
        found = np.asarray(image.convert("LA" if image.mode in ("L", "1", "LA", "La") else "RGBA"))
        return codec.turn_upright(found, 1 if image.format == "TIFF" else orientation)
    elif data[25] in (4, 6):  # a PNG of 16 bits with an alpha of its own
        packed = np.asarray(codec.unpack(data))
        if packed.shape[2] == 4:
            packed = packed[..., [0, 3] if data[25] == 4 else [2, 1, 0, 3]]
        return codec.turn_upright(packed, orientation)
    # What differs over white and over black shines through; colours follow from what is seen over black.
    dark = codec.read_deep(data, max_pixels, 0)
    dark = (dark if dark.ndim == 3 else dark[..., None]).astype(np.int64)
    top = int(np.iinfo(layers.dtype).max)
    alpha = top - (layers.astype(np.int64) - dark)[..., :1]
    color = np.where(alpha > 0, np.clip((dark * top + alpha // 2) // np.maximum(alpha, 1), 0, top), top)
    return np.concatenate([color, alpha], axis=2).astype(layers.dtype)


def _read_colors(profile: bytes | None, notes: list[str]) -> ColorSpace | None:
    if profile is None:
        return None
    try:
        colors = ColorSpace(profile)
        return None if colors.is_srgb else colors
    except ValueError:
        notes.append(
            "the photo's colour profile is kept, but has no way back from sRGB, so its values are taken as sRGB"
        )
        return None


def _read_metadata(image: Image.Image, data: bytes, notes: list[str]) -> PhotoMetadata:
    info = image.info
    xmp = info.get("xmp")
    if xmp is None and isinstance(info.get("XML:com.adobe.xmp"), str):
        xmp = str(info["XML:com.adobe.xmp"]).encode("utf-8")
    comment = info.get("comment")
    if image.format == "PNG":
        comment = None
    texts = [("Comment", comment.decode("utf-8", "replace") if isinstance(comment, bytes) else comment)]
    if info.get("photoshop"):
        notes.append("IPTC captions and Photoshop's own data cannot be kept in a PNG")
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"the file holds {getattr(image, 'n_frames', 1)} pictures, and the first is edited")
    profile = info.get("icc_profile")
    chunks = b""
    if image.format == "PNG":
        found = list(png_chunks.read_chunks(data))
        chunks = b"".join(png_chunks.make_chunk(kind, part) for kind, part in found if _is_kept(kind, part))
        late = next((part for kind, part in found if kind == b"iTXt" and part.startswith(png_chunks.XMP_KEYWORD)), None)
        if xmp is None and late is not None and late[len(png_chunks.XMP_KEYWORD) :].startswith(b"\0\0\0\0\0"):
            xmp = late[len(png_chunks.XMP_KEYWORD) + 5 :]
    return PhotoMetadata(
        profile=profile if isinstance(profile, bytes) and profile else None,
        exif=_read_exif(image, notes),
        xmp=png_chunks.set_upright(xmp) if isinstance(xmp, bytes) and xmp else None,
        density=None if image.format == "PNG" else _read_density(info.get("dpi")),
        chunks=chunks,
        texts=tuple((keyword, text) for keyword, text in texts if isinstance(text, str) and text.strip()),
    )


def _is_kept(kind: bytes, part: bytes) -> bool:
    """Whether a chunk goes on as it is: XMP and EXIF, also as old tools put them into texts, are written anew."""
    is_own = part.startswith((png_chunks.XMP_KEYWORD, b"Raw profile type"))
    return kind in _PNG_KINDS and not (kind in (b"tEXt", b"zTXt", b"iTXt") and is_own)


def _read_density(dpi: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 <= x <= 1e6 and 1 <= y <= 1e6 else None


def _read_exif(image: Image.Image, notes: list[str]) -> bytes | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Image.Image.getexif(image)
            for tag in _STORAGE_TAGS:
                found.pop(tag, None)
            if not set(found) - {_ORIENTATION}:
                return None
            details = found.get_ifd(ExifTags.IFD.Exif)
            if found.get(_ORIENTATION) in (5, 6, 7, 8) and all(tag in details for tag in _SIZE_TAGS):
                details.update(zip(_SIZE_TAGS, [details[tag] for tag in reversed(_SIZE_TAGS)], strict=True))
            if _ORIENTATION in found:
                found[_ORIENTATION] = 1
            return found.tobytes()
    except Exception:  # Pillow's parser raises nearly anything on damaged blocks
        notes.append("the photo's EXIF is damaged, so it is left out")
        return None
