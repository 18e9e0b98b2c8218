"""Sample photos: 24 generated faces of people who do not exist, views of them, and the astronaut's crop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dpsdata.contracts import EYE_CENTRES, UsageError
from dpsdata.images.codec import encode_jpeg, read_photo
from dpsdata.runtime.device import keyed_generator
from dpsdata.runtime.files import make_folder, write_bytes_atomic

FACE_COUNT = 24
FACE_PX = 512
_FACES_FOLDER = Path(__file__).parent / "faces"
_JPEG_QUALITY = 92
_ASTRONAUT_PX = 256
_ASTRONAUT_PUPILS = ((203.3, 101.2), (246.7, 103.7))  # found by eye at six times the size


def sample_face_file(number: int) -> Path:
    """The JPEG of one sample face.

    Args:
        number: 1 to 24.

    Raises:
        UsageError: a number out of range.
    """
    if not 1 <= number <= FACE_COUNT:
        raise UsageError(f"sample face: expected a number from 1 to {FACE_COUNT}, got {number}")
    return _FACES_FOLDER / f"face_{number:02d}.jpg"


def read_sample_face(number: int) -> NDArray[np.uint8]:
    """Read one sample face, (512, 512, 3) uint8 RGB, cut as FFHQ and CelebA-HQ are.

    Args:
        number: 1 to 24.

    Raises:
        UsageError: a number out of range.
    """
    return read_photo(sample_face_file(number))


def crop_astronaut() -> NDArray[np.uint8]:
    """Crop scikit-image's astronaut photo (Eileen Collins, NASA, public domain) to the CelebA-HQ frame.

    Returns:
        (256, 256, 3) uint8 RGB, turned and scaled so that the pupils lie on the frame's eye centres.
    """
    from skimage import data

    untyped: Any = data  # scikit-image's data module has no annotations

    left, right = (complex(*pupil) for pupil in _ASTRONAUT_PUPILS)
    target_left, target_right = (complex(*eye) for eye in EYE_CENTRES)
    # A similarity of the plane is one complex factor and a shift.
    factor = (right - left) / (target_right - target_left)
    pixels = np.arange(_ASTRONAUT_PX)[None, :] + 1j * np.arange(_ASTRONAUT_PX)[:, None]
    places = left + factor * (pixels - target_left)
    photo = np.asarray(untyped.astronaut(), dtype=np.float64)
    layers = [ndimage.map_coordinates(photo[..., layer], [places.imag, places.real], order=3) for layer in range(3)]
    return np.asarray(np.clip(np.rint(np.stack(layers, axis=-1)), 0, 255), np.uint8)


def _draw_view(photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mirror, crop and relight a face, so that it counts as another photo; the size stays."""
    if rng.random() < 0.5:
        photo = photo[:, ::-1]
    side = round(FACE_PX * rng.uniform(0.88, 0.97))
    top, left = rng.integers(0, FACE_PX - side + 1, 2)
    crop = np.ascontiguousarray(photo[top : top + side, left : left + side])
    scaled = cv2.resize(crop, (FACE_PX, FACE_PX), interpolation=cv2.INTER_CUBIC).astype(np.float64) / 255
    gamma, warmth = rng.uniform(0.75, 1.3), rng.uniform(-0.06, 0.06)
    across = np.linspace(-1, 1, FACE_PX)[None, :, None] * rng.uniform(-0.12, 0.12)
    lit = scaled**gamma * (1 + across) * np.array([1 + warmth, 1, 1 - warmth])
    return np.asarray(np.clip(np.rint(255 * lit), 0, 255), np.uint8)


def write_sample_faces(out: Path, count: int, seed: int) -> list[Path]:
    """Write sample photos of 512 px: `face_0001.jpg`, `face_0002.jpg` and so on.

    The first 24 are the package's faces as they are; those after them are the same faces mirrored, cropped and lit
    in other ways.

    Args:
        out: folder; it is made where it does not exist.
        count: number of photos, 1 to 10,000.
        seed: of the faces' order (0: as they are numbered) and of the views after them; the same seed gives the same
            bytes, whatever `count` is.

    Returns:
        The files written, in this order.

    Raises:
        UsageError: a count out of range, or other files of these names lie there.
        EnvironmentFailure: the folder cannot be written.
    """
    if not 1 <= count <= 10_000:
        raise UsageError(f"count: expected 1 to 10000 photos, got {count}")
    out = Path(out)
    make_folder(out)
    order = np.arange(1, FACE_COUNT + 1)
    if seed:
        keyed_generator(seed, "order", "sample").shuffle(order)
    files = [out / f"face_{index:04d}.jpg" for index in range(1, count + 1)]

    def encode(index: int) -> bytes:
        number = int(order[index % FACE_COUNT])
        if index < FACE_COUNT:
            return sample_face_file(number).read_bytes()
        view = _draw_view(read_sample_face(number), keyed_generator(seed, files[index].stem, "sample"))
        return encode_jpeg(view, _JPEG_QUALITY)

    there = {index for index, file in enumerate(files) if os.path.lexists(file)}
    others = [
        index for index in sorted(there) if not files[index].is_file() or files[index].read_bytes() != encode(index)
    ]
    if others:
        raise UsageError(
            f"{out} holds {len(others)} other files of these names, such as {files[others[0]].name}; choose another OUT"
        )
    for index, file in enumerate(files):
        if index not in there:
            write_bytes_atomic(file, encode(index))
    return files
