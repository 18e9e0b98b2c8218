"""The head: outline in polar form, height field, Lambert-like skin, ears, neck and clothes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from dpsdata.portraits.canvas import OVERSAMPLING, Array, Pane, bump, ellipse, soft, stroke
from dpsdata.portraits.person import EYE_LEFT, EYE_RIGHT, Person

_ANGLES = np.array([0, 30, 60, 90, 115, 135, 155, 170, 180], dtype=np.float64)
_RADII = np.array([103, 97, 80, 67, 65.5, 71.5, 88.5, 98.5, 100], dtype=np.float64)


@dataclass(frozen=True)
class Head:
    """Places of the features and the polar frame of the head, over the whole canvas.

    Attributes:
        middle: centre of the head outline.
        degrees: (2881,) the directions that tables over the angle are made for.
        direction: (H, W) place of each pixel's direction in such a table.
        angle: (H, W) degrees from straight up, positive to the right.
        radius: (H, W) distance from `middle`.
        outline: (H, W) radius of the outline in the direction of each pixel.
        nose, mouth, chin: feature centres, turned with the head.
    """

    middle: tuple[float, float]
    degrees: Array
    direction: NDArray[np.int64]
    angle: Array
    radius: Array
    outline: Array
    nose: tuple[float, float]
    mouth: tuple[float, float]
    chin: tuple[float, float]

    @cached_property
    def distance(self) -> Array:
        """Signed distance to the outline, negative inside."""
        return self.radius - self.outline


def place_head(person: Person, canvas: Pane) -> Head:
    """Work out where everything sits; the eyes never move, so the rest turns around them."""
    axis = (EYE_LEFT[0] + EYE_RIGHT[0]) / 2
    middle = (axis - 4.0 * person.yaw, 128.0 - 1.5 * person.pitch)
    radii = _RADII.copy()
    radii[2:6] *= person.width
    radii[5:8] *= person.jaw
    radii[6:] *= person.length
    whole = np.concatenate([-_ANGLES[:0:-1], _ANGLES])
    # the far side of a turned head is foreshortened
    sides = np.concatenate([radii[:0:-1] * (1 + 0.05 * person.yaw), radii[:1], radii[1:] * (1 - 0.05 * person.yaw)])
    sides[0] = sides[-1] = radii[-1]
    degrees = np.linspace(-180.0, 180.0, 2881)
    table = CubicSpline(whole, sides, bc_type="periodic")(degrees)
    dx, dy = canvas.x - middle[0], canvas.y - middle[1]
    angle = np.degrees(np.arctan2(dx, -dy))
    nose = (axis + 10.0 * person.yaw, 120.0 + 38.0 * person.nose_length + 3.0 * person.pitch)
    mouth = (axis + 5.0 * person.yaw, 187.0 + 2.5 * person.pitch)
    chin = (axis + 2.0 * person.yaw, middle[1] + 100.0 * person.length)
    direction = np.rint((angle + 180.0) * 8.0).astype(np.int64)
    return Head(middle, degrees, direction, angle, np.hypot(dx, dy), table[direction], nose, mouth, chin)


def _nose_height(person: Person, head: Head, canvas: Pane) -> Array:
    """Bridge, tip and wings of the nose as a height in pixels."""
    root = (EYE_LEFT[0] + EYE_RIGHT[0]) / 2
    along = np.clip((canvas.y - 108.0) / (head.nose[1] - 108.0), 0.0, 1.3)
    centre = root + (head.nose[0] - root) * np.minimum(along, 1.0) ** 1.3
    wide = (5.2 + 3.4 * along) * person.nose_width
    rise = (2.0 + 9.0 * along**1.4) * soft(canvas.y - head.nose[1] - 3.0, 9.0) * (1 - soft(canvas.y - 108.0, 14.0))
    ridge = rise * np.exp(-0.5 * ((canvas.x - centre) / wide) ** 2)
    tip = 4.0 * bump(canvas, head.nose[0], head.nose[1] - 1.0, 6.5 * person.nose_width, 5.5)
    wings = sum(
        4.5 * bump(canvas, head.nose[0] + side * 10.5 * person.nose_width, head.nose[1] + 2.5, 3.4, 3.8)
        for side in (-1, 1)
    )
    return np.asarray(ridge + tip + wings)


def _face_height(person: Person, head: Head, canvas: Pane, reach: Array) -> Array:
    """Height of the face towards the viewer in pixels; `reach` is 0 in the middle of the head and 1 at its outline."""
    axis = (EYE_LEFT[0] + EYE_RIGHT[0]) / 2
    # a dome that ends in a straight slope, or the rim would have no finite normal
    rim = np.minimum(reach, 0.96)
    height = 64.0 * np.sqrt(1.0 - rim**3) - 260.0 * (reach - rim)
    height += 4.0 * bump(canvas, axis, 104.0, 34.0, 6.5)
    for x, y in (EYE_LEFT, EYE_RIGHT):
        height += 4.6 * bump(canvas, x, y, 10.0, 6.0) - 7.0 * bump(canvas, x, y - 2.0, 14.0, 9.0)
    for side in (-1, 1):
        height += (4.0 + 2.0 * person.smile) * bump(canvas, axis + side * 37.0 + 3.0 * person.yaw, 157.0, 14.0, 12.0)
        height -= (0.4 + 3.0 * person.age) * bump(canvas, axis + side * 43.0, 186.0, 11.0, 15.0)
    mouth_x, mouth_y = head.mouth
    height += 2.6 * bump(canvas, mouth_x, mouth_y, 20.0, 12.0)
    height += 1.3 * bump(canvas, mouth_x, mouth_y - 4.0, 15.0, 2.4) + 2.2 * bump(
        canvas, mouth_x, mouth_y + 6.0, 13.0, 3.4
    )
    height -= 1.2 * bump(canvas, mouth_x, mouth_y - 13.0, 3.0, 5.0) + 2.6 * bump(
        canvas, mouth_x, mouth_y + 15.0, 15.0, 3.5
    )
    height += 5.5 * bump(canvas, head.chin[0], head.chin[1] - 15.0, 15.0, 9.0)
    return np.asarray(height + _nose_height(person, head, canvas))


def shade(person: Person, height: Array) -> tuple[Array, Array]:
    """Diffuse light and gloss of a height field.

    Args:
        person: whose light direction is used.
        height: (H, W) height in pixels.

    Returns:
        Diffuse light around 1 for a lit front, and gloss in [0, 1].
    """
    down, right = np.gradient(height, 1.0 / OVERSAMPLING)
    light_x, light_y, light_z = person.light
    length = np.sqrt(right**2 + down**2 + 1.0)
    facing = (-right * light_x - down * light_y + light_z) / length
    diffuse = 0.36 + 0.74 * np.maximum((facing + 0.22) / 1.22, 0.0)
    # half-way vector between the light and the viewer
    half = np.array([light_x, light_y, light_z + 1.0])
    half /= np.linalg.norm(half)
    gloss = np.maximum((-right * half[0] - down * half[1] + half[2]) / length, 0.0) ** 26
    return diffuse, gloss


def lit_skin(person: Person, diffuse: Array, gloss: Array) -> Array:
    """Skin colour under the light; shadows turn warm, as skin lets red through."""
    warm = diffuse[..., None] * (1.0 + (1.0 - diffuse[..., None]) * np.array([0.11, -0.05, -0.10]))
    return np.asarray(np.array(person.skin) * warm + 0.11 * gloss[..., None])


def paint_body(person: Person, head: Head, canvas: Pane) -> None:
    """Paint neck and clothes, with the shadow of the chin."""
    pane = canvas.crop(-1, 150, 257, 257)
    distance = head.distance[canvas.window(-1, 150, 257, 257)]
    slide = person.body_roll * (pane.y - 190.0) - 3.0 * person.yaw
    across = pane.x - head.middle[0] - slide
    neck_half = 37.0 * person.width + 10.0 * soft(230.0 - pane.y, 60.0) + 0 * across
    turn = np.clip(across / neck_half, -0.97, 0.97)
    diffuse, gloss = shade(person, 40.0 * np.sqrt(1.0 - turn**2))
    neck = soft(np.abs(across) - neck_half, 1.5)
    pane.paint(neck, lit_skin(person, diffuse * 0.92, 0.3 * gloss))
    for side in (-1.0, 1.0):
        cord = np.abs(across - side * (30.0 - 0.42 * (pane.y - 195.0))) - 0.5
        pane.darken(0.30 * neck * soft(cord, 7.0) * soft(200.0 - pane.y, 20.0), (0.7, 0.58, 0.55))
    shadow = soft(distance - 13.0 + 7.0 * person.light[0] * np.clip(across / 20.0, -1, 1), 30.0)
    pane.darken(0.68 * shadow * neck, (0.45, 0.36, 0.34))
    _paint_clothes(person, pane, across, neck_half)


def _paint_clothes(person: Person, pane: Pane, across: Array, neck_half: Array) -> None:
    shoulder = 231.0 + 1.2 * person.body_roll * across + 0.16 * np.maximum(np.abs(across) - 46.0, 0)
    within = np.abs(across) < neck_half + 5.0
    opening = {
        "round": 247.0 - 0.0072 * across**2,
        "v": 264.0 - 0.72 * np.abs(across),
        "shirt": 256.0 - 0.62 * np.abs(across),
    }[person.collar]
    edge = np.where(within, np.maximum(opening, shoulder), shoulder)
    light = np.clip(0.92 + 0.25 * np.sign(person.light[0]) * across / 110.0, 0.6, 1.2)
    folds = light + 0.05 * np.sin(across / 9.0 + pane.y / 14.0) - 0.10 * soft(pane.y - edge - 3.0, 8.0)
    pane.paint(soft(edge - pane.y, 1.2), np.array(person.clothes) * folds[..., None])
    seam = {"round": 5.0, "v": 6.0, "shirt": 13.0}[person.collar]
    pane.darken(0.55 * soft(np.abs(edge + seam - pane.y) - 0.5, 1.2), (0.5, 0.5, 0.5))


def paint_ears(person: Person, head: Head, canvas: Pane) -> None:
    """Paint both ears, the far one smaller."""
    for side in (-1.0, 1.0):
        size = 1.0 - 0.35 * side * person.yaw
        x = head.middle[0] + side * (64.5 * person.width - 2.5) * (1 - 0.05 * side * person.yaw) + side * 2.0
        pane = canvas.crop(x - 22, 96, x + 22, 168)
        diffuse = 0.8 + 0.35 * side * person.light[0]
        canvas_skin = lit_skin(person, np.full((1, 1), diffuse), np.zeros((1, 1))) * (1.0, 0.93, 0.92)
        pane.paint(soft(ellipse(pane, x, 131.0, 9.5 * size, 19.0), 1.3), canvas_skin)
        pane.darken(
            0.55 * soft(np.abs(ellipse(pane, x + 1.0 * side, 130.0, 5.5 * size, 13.0)) - 0.8, 1.6), (0.62, 0.5, 0.48)
        )
        pane.darken(0.4 * soft(ellipse(pane, x - 1.0 * side, 133.0, 3.0 * size, 7.0), 3.0), (0.5, 0.36, 0.34))
        if person.earrings:
            pane.paint(soft(ellipse(pane, x + side, 153.0, 2.4, 2.4)), (0.93, 0.85, 0.55))


def paint_face(person: Person, head: Head, canvas: Pane, rng: np.random.Generator) -> None:
    """Paint the shaded face with blush, freckles and the lines of age."""
    reach = 84.0 * person.width
    window = canvas.window(head.middle[0] - reach, 15, head.middle[0] + reach, 248)
    pane = Pane(canvas.x[:, window[1]], canvas.y[window[0]], canvas.rgb[window])
    diffuse, gloss = shade(person, _face_height(person, head, pane, head.radius[window] / head.outline[window]))
    skin = lit_skin(person, diffuse, gloss * (0.75 + 0.5 * rng.random()))
    blush = sum(bump(pane, 126.0 + side * 38.0 + 3 * person.yaw, 158.0, 15.0, 11.0) for side in (-1, 1))
    blush = 0.5 * np.asarray(blush) + 0.35 * bump(pane, *head.nose, 9.0, 7.0)
    skin *= 1.0 - blush[..., None] * np.array([0.0, 0.12, 0.10])
    pane.paint(soft(head.distance[window], 1.4), skin)
    if person.freckles:
        for x, y, r in zip(rng.normal(126, 26, 70), rng.normal(150, 10, 70), rng.uniform(0.4, 0.9, 70), strict=True):
            spot = canvas.crop(x - 3, y - 3, x + 3, y + 3)
            spot.darken(0.35 * soft(ellipse(spot, x, y, r, r), 1.2), (0.72, 0.55, 0.45))
    _paint_age(person, head, canvas)


def _paint_age(person: Person, head: Head, canvas: Pane) -> None:
    """Folds beside the mouth, under the eyes and on the forehead, stronger with age and smile."""
    fold = 0.16 + 0.35 * person.age + 0.18 * max(person.smile, 0.0)
    for side in (-1.0, 1.0):
        start = head.nose[0] + side * 13.0 * person.nose_width
        end = head.mouth[0] + side * (person.mouth_width + 6.0)
        pane = canvas.crop(min(start, end) - 2, head.nose[1] - 6, max(start, end) + 2, head.mouth[1] + 12)
        along = np.clip((pane.x - start) / (end - start), 0.0, 1.0)
        curve = head.nose[1] - 1.0 + (head.mouth[1] - head.nose[1] + 1.0) * along**1.35
        fade = np.sin(np.pi * np.clip(along * 0.92 + 0.05, 0, 1))
        pane.darken(fold * fade * soft(stroke(pane, curve, 0.5), 3.4), (0.6, 0.46, 0.42))
    for x, y in (EYE_LEFT, EYE_RIGHT):
        pane = canvas.crop(x - 18, y + 4, x + 18, y + 24)
        curve = y + 15.5 - 6.0 * ((pane.x - x) / 16.0) ** 2
        fade = np.clip(1.0 - np.abs(pane.x - x) / 17.0, 0, 1)
        pane.darken((0.1 + 0.4 * person.age) * fade * soft(stroke(pane, curve, 0.4), 3.2), (0.66, 0.54, 0.52))
    for row in range(3):
        pane = canvas.crop(92, 70, 160, 102)
        curve = 79.0 + 7.5 * row + 2.0 * np.sin(pane.x / 13.0 + row)
        fade = np.clip(1.0 - np.abs(pane.x - 126.0) / 32.0, 0, 1)
        pane.darken(0.4 * max(person.age - 0.4, 0) * fade * soft(stroke(pane, curve, 0.4), 2.4), (0.6, 0.48, 0.44))
