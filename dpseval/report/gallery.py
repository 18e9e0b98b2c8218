"""The pictures of a report: thumbnails that scoring saves, so that the page can be redrawn without the outputs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import encode_jpeg
from dpsdata.runtime.files import make_folder, write_bytes_atomic, write_text_atomic
from dpseval.report.stored import load_json

FOLDER = "gallery"
INDEX = "gallery.json"
ERROR_TOP = 64
# In base64 they take a third more; with the tables and charts the page stays under 5 MB.
THUMBNAIL_BYTES = 2_700_000
THUMBNAIL_SIDES_PX = (256, 208, 176, 144, 112, 88)
_JPEG_QUALITY = 82
_NAME = re.compile(r"[0-9a-f]{16}\.jpg")
_MAX_PICTURE_BYTES = 1_000_000


@dataclass(frozen=True)
class Panel:
    """One picture to save.

    Args:
        label: what it is: `input`, `sketch`, `mask`, `dps 0.25`, `truth`, `error dps 0.25`.
        pixels: uint8 (H, W) grey or (H, W, 3) RGB.
        caption: a number or a few words below it; may be empty.
    """

    label: str
    pixels: NDArray[np.uint8]
    caption: str = ""


@dataclass(frozen=True)
class GalleryItem:
    """One row of pictures: a photo of the dataset and what each method made of it.

    Args:
        id: the sample.
        reason: `sample`, or `worst METRIC`.
        hole_ratio: in [0, 1].
        panels: the pictures in the order in which they are shown.
    """

    id: str
    reason: str
    hole_ratio: float
    panels: Sequence[Panel]


@dataclass(frozen=True)
class StoredPanel:
    """A picture read back: the bytes of its JPEG, or None where the file is missing or no JPEG."""

    label: str
    caption: str
    jpeg: bytes | None


@dataclass(frozen=True)
class StoredItem:
    """A row of the gallery read back."""

    id: str
    reason: str
    hole_ratio: float
    panels: tuple[StoredPanel, ...]


def error_map(output: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour the difference of two photos: black for none, bright for `ERROR_TOP` of 255 or more.

    Args:
        output: uint8 (H, W, 3) RGB.
        truth: the same shape.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    difference = np.abs(output.astype(np.float32) - truth.astype(np.float32)).mean(axis=2)
    scaled = np.rint(np.clip(difference * (255 / ERROR_TOP), 0, 255)).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)[..., ::-1], dtype=np.uint8)


def save_gallery(folder: Path, items: Sequence[GalleryItem]) -> None:
    """Write `gallery/gallery.json` and its JPEG thumbnails into a report, in place of what was there.

    Equal pictures share a file. Thumbnails are as large as all of them together allow.

    Args:
        folder: the REPORT folder.
        items: the rows of the gallery.

    Raises:
        UsageError: a panel that is no picture.
        EnvironmentFailure: the files cannot be written.
    """
    encoded: list[list[bytes]] = []
    for side_px in THUMBNAIL_SIDES_PX:
        encoded = [[_thumbnail(panel, side_px) for panel in item.panels] for item in items]
        if sum(len(jpeg) for row in encoded for jpeg in row) <= THUMBNAIL_BYTES:
            break
    target = folder / FOLDER
    make_folder(target)
    index = []
    kept = set()
    for item, jpegs in zip(items, encoded, strict=True):
        panels = []
        for panel, jpeg in zip(item.panels, jpegs, strict=True):
            name = f"{hashlib.sha256(jpeg).hexdigest()[:16]}.jpg"
            if name not in kept:
                write_bytes_atomic(target / name, jpeg)
                kept.add(name)
            panels.append({"label": panel.label, "file": name, "caption": panel.caption})
        index.append({"id": item.id, "reason": item.reason, "hole_ratio": float(item.hole_ratio), "panels": panels})
    write_text_atomic(target / INDEX, json.dumps(index, indent=1) + "\n")
    for path in sorted(target.iterdir()):
        if _NAME.fullmatch(path.name) and path.name not in kept:
            path.unlink(missing_ok=True)


def read_gallery(folder: Path) -> list[StoredItem]:
    """Read the gallery of a report; a report without one gives an empty list.

    Raises:
        MissingError: `gallery.json` is damaged.
    """
    path = folder / FOLDER / INDEX
    if not path.exists():
        return []
    rows = load_json(path)
    try:
        return [
            StoredItem(
                str(row["id"]),
                str(row["reason"]),
                float(row["hole_ratio"]),
                tuple(
                    StoredPanel(
                        str(panel["label"]), str(panel["caption"]), _picture(folder / FOLDER, str(panel["file"]))
                    )
                    for panel in row["panels"]
                ),
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError):
        raise MissingError(
            f"{path}: expected a list of rows with id, reason, hole_ratio and panels; run dpseval score again"
        ) from None


def _thumbnail(panel: Panel, side_px: int) -> bytes:
    pixels = np.asarray(panel.pixels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or not pixels.size:
        raise UsageError(
            f"panel {panel.label!r}: expected uint8 (H, W) or (H, W, 3), got {pixels.dtype} of shape {pixels.shape}"
        )
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    height, width = pixels.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return encode_jpeg(np.ascontiguousarray(pixels), _JPEG_QUALITY)


def _picture(folder: Path, name: str) -> bytes | None:
    # The index may come from anywhere: only our own names are opened, and only what begins as a JPEG is shown.
    path = folder / name
    if not _NAME.fullmatch(name) or path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as stream:
        data = stream.read(_MAX_PICTURE_BYTES + 1)
    return data if data.startswith(b"\xff\xd8\xff") and len(data) <= _MAX_PICTURE_BYTES else None
