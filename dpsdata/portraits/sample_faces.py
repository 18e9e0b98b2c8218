"""Draw portraits, crop the astronaut, and write both as sample data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dpsdata.contracts import UsageError
from dpsdata.images.codec import write_photo
from dpsdata.portraits.canvas import SIZE_PX, Array, Pane, StrandNoise, finish, new_canvas, soft
from dpsdata.portraits.features import paint_beard, paint_brows, paint_eyes, paint_glasses, paint_mouth, paint_nose
from dpsdata.portraits.hair import grow_hair, paint_back_hair, paint_front_hair
from dpsdata.portraits.head import paint_body, paint_ears, paint_face, place_head
from dpsdata.portraits.person import EYE_LEFT, EYE_RIGHT, Person, draw_person
from dpsdata.runtime.device import keyed_generator
from dpsdata.runtime.files import write_failure

_ASTRONAUT_PUPILS = ((203.3, 101.2), (246.7, 103.7))  # found by eye at six times the size


def _paint_background(person: Person, canvas: Pane, rng: np.random.Generator) -> None:
    """A gradient lit from the light's side, with a few blurred spots."""
    # nothing in it is sharp, so the final size is fine enough
    coarse = Pane(canvas.x[:, ::2] + 0.25, canvas.y[::2] + 0.25, np.zeros((SIZE_PX, SIZE_PX, 3)))
    lean = 0.5 + (coarse.x - 128.0) / 512.0 * np.sign(person.light[0]) - (coarse.y - 128.0) / 900.0
    coarse.rgb[...] = np.array(person.background) * (0.7 + 0.6 * lean)[..., None]
    for _ in range(int(rng.integers(0, 6))):
        x, y, radius = rng.uniform(0, 256), rng.uniform(0, 220), rng.uniform(12, 45)
        tint = np.clip(np.array(person.background) * rng.uniform(0.7, 1.5) + rng.normal(0, 0.05, 3), 0, 1)
        coarse.paint(0.4 * soft(np.hypot(coarse.x - x, coarse.y - y) - radius, 26.0), tint)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        canvas.rgb[row::2, column::2] = coarse.rgb


def draw_portrait(seed: int, index: int) -> NDArray[np.uint8]:
    """Draw one shaded portrait in the CelebA-HQ frame.

    Args:
        seed: seed of the sample set.
        index: number of the portrait; every (seed, index) has a face of its own.

    Returns:
        (256, 256, 3) uint8 RGB, eye centres at (94.8, 120.1) and (157.3, 120.3).
    """
    rng = keyed_generator(seed, f"portrait_{index:04d}", "portrait")
    person = draw_person(rng)
    noise = StrandNoise.draw(rng)
    canvas = new_canvas()
    head = place_head(person, canvas)
    _paint_background(person, canvas, rng)
    hair = grow_hair(person, head, canvas, noise)
    paint_back_hair(person, head, canvas, hair)
    paint_body(person, head, canvas)
    paint_ears(person, head, canvas)
    paint_face(person, head, canvas, rng)
    paint_beard(person, head, canvas, noise)
    paint_nose(person, head, canvas)
    paint_mouth(person, head, canvas)
    paint_eyes(person, canvas)
    paint_brows(person, canvas, noise)
    paint_front_hair(person, head, canvas, hair)
    paint_glasses(person, head, canvas)
    canvas.rgb[...] *= (1.0 - 5.5e-6 * ((canvas.x - 128.0) ** 2 + (canvas.y - 128.0) ** 2))[..., None]
    canvas.rgb[...] += rng.normal(0, 0.011, canvas.rgb.shape[:2])[..., None]
    return finish(canvas)


def crop_astronaut() -> NDArray[np.uint8]:
    """Crop scikit-image's astronaut photo (Eileen Collins, NASA, public domain) to the CelebA-HQ frame.

    Returns:
        (256, 256, 3) uint8 RGB, turned and scaled so that the pupils lie on the frame's eye centres.
    """
    from skimage import data

    untyped: Any = data  # scikit-image's data module has no annotations

    left, right = (complex(*pupil) for pupil in _ASTRONAUT_PUPILS)
    target_left, target_right = complex(*EYE_LEFT), complex(*EYE_RIGHT)
    # A similarity of the plane is one complex factor and a shift.
    factor = (right - left) / (target_right - target_left)
    pixels = np.arange(SIZE_PX)[None, :] + 1j * np.arange(SIZE_PX)[:, None]
    places = left + factor * (pixels - target_left)
    photo = np.asarray(untyped.astronaut(), dtype=np.float64)
    layers = [ndimage.map_coordinates(photo[..., layer], [places.imag, places.real], order=3) for layer in range(3)]
    pixels_rgb: Array = np.stack(layers, axis=-1)
    return np.clip(np.rint(pixels_rgb), 0, 255).astype(np.uint8)


def write_sample_faces(out: Path, count: int, seed: int) -> list[Path]:
    """Write sample photos: `astronaut.png` and `portrait_0001.png`, `portrait_0002.png` and so on.

    Args:
        out: folder; it is made where it does not exist.
        count: number of photos, 1 to 10,000; the first is the astronaut.
        seed: of the drawn portraits; the same seed gives the same bytes, whatever `count` is.

    Returns:
        The files written, in this order.

    Raises:
        UsageError: a count out of range.
        EnvironmentFailure: the folder cannot be written.
    """
    if not 1 <= count <= 10_000:
        raise UsageError(f"count: expected 1 to 10000 photos, got {count}")
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failure(out, error) from error
    files = [out / "astronaut.png", *(out / f"portrait_{index:04d}.png" for index in range(1, count))]
    write_photo(files[0], crop_astronaut())
    for index, file in enumerate(files[1:], 1):
        write_photo(file, draw_portrait(seed, index))
    return files
