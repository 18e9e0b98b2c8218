"""Hair: the part behind the head, the front with its hairline, and side locks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dpsdata.portraits.canvas import Array, Pane, StrandNoise, soft
from dpsdata.portraits.head import Head
from dpsdata.portraits.person import Person

_HAIRLINE_ANGLES = np.array([-118, -98, -78, -55, -28, 0, 28, 55, 78, 98, 118], dtype=np.float64)
_VOLUME = {
    "bald": 0.0,
    "buzz": 2.5,
    "short": 11.0,
    "swept": 15.0,
    "fringe": 14.0,
    "bob": 15.0,
    "long": 14.0,
    "curly": 24.0,
}
_LENGTH = {"bob": 205.0, "long": 300.0, "curly": 172.0}


def _hairline(person: Person, head: Head, noise: StrandNoise) -> Array:
    """Inner radius of the front hair for every direction, as a share of the outline."""
    rise = 0.62 + 0.05 * person.age
    if person.style in ("buzz", "short", "curly"):
        radii = [1.02, 0.97, 0.90, 0.76, rise + 0.02, rise, rise + 0.02, 0.76, 0.90, 0.97, 1.02]
    elif person.style == "fringe":
        radii = [1.02, 0.93, 0.84, 0.63, 0.37, 0.31, 0.37, 0.63, 0.84, 0.93, 1.02]
    else:
        radii = [1.02, 0.92, 0.83, 0.71, 0.66, rise, 0.66, 0.71, 0.83, 0.92, 1.02]
    table = np.array(radii)
    if person.style in ("swept", "bob", "long"):
        # hair is high at the parting and sweeps low over the temple on the other side
        table -= 0.17 * np.exp(-(((_HAIRLINE_ANGLES + np.sign(person.part) * 46.0) / 26.0) ** 2))
        table += 0.05 * np.exp(-(((_HAIRLINE_ANGLES - person.part) / 18.0) ** 2))
    smooth = np.interp(head.degrees, _HAIRLINE_ANGLES, table, left=1.3, right=1.3)
    window = np.hanning(123)[1:-1]
    smooth = np.convolve(np.pad(smooth, 60, mode="edge"), window / window.sum(), mode="valid")
    jag = {"fringe": 0.030, "curly": 0.022, "buzz": 0.006}.get(person.style, 0.012)
    fine = 0.18 if person.style == "curly" else 0.45
    smooth += jag * noise.at(head.degrees * fine + 200) + 0.4 * jag * noise.at(head.degrees * 1.3)
    return np.asarray(smooth[head.direction])


def _curls(canvas: Pane, noise: StrandNoise) -> Array:
    """An isotropic field of waves about nine pixels long, folded into ridges like locks."""
    field = np.zeros((canvas.y.shape[0], canvas.x.shape[1]))
    for wave, (turn, phase) in enumerate(zip(noise.table[:7], noise.table[7:14], strict=True)):
        angle = np.pi * (wave + 0.3 * turn) / 7.0
        field += np.sin((canvas.x * np.cos(angle) + canvas.y * np.sin(angle)) * (0.62 + 0.10 * phase) + 9.0 * phase)
    return np.asarray(0.30 - 0.42 * np.abs(field) ** 0.8 / 2.0)


def _strands(person: Person, head: Head, canvas: Pane, noise: StrandNoise) -> Array:
    """Brightness of the hair around 1: strands, the light's side and a band of gloss."""
    dx, dy = canvas.x - head.middle[0], canvas.y - head.middle[1]
    if person.style == "curly":
        texture = _curls(canvas, noise)
    elif person.style in ("short", "buzz"):
        sweep = head.angle + 0.22 * (head.radius - 90.0) * np.sign(person.part)
        texture = 0.16 * noise.at(sweep * 1.2 + 5) + 0.10 * noise.at(sweep * 0.35 + 0.04 * head.radius)
    else:
        # strands run along arcs over the head and hang straight down at the sides
        shifted = dx - 0.35 * person.part
        arc = np.hypot(shifted, np.minimum(dy + 10.0, 0.0))
        if person.style == "fringe":
            arc = np.where(dy < -25.0, head.angle * (1.0 + 0 * dy), arc)
        wave = 2.5 * np.sin(canvas.y / 17.0 + 0.6) * soft(110.0 - canvas.y, 50.0)
        texture = 0.14 * noise.at(arc * 0.85 + wave) + 0.12 * noise.at(arc * 0.23 + 0.5 * wave + 77)
        texture -= 0.35 * soft(np.abs(shifted + 0.12 * dy) - 0.3, 2.4) * soft(dy + 55.0, 8.0)
    light_x, light_y, _ = person.light
    reach = np.maximum(head.radius, 1.0)
    lit = 0.86 + 0.30 * (dx * light_x + np.minimum(dy, 30.0) * light_y) / reach
    ring = np.exp(-(((head.radius / head.outline - 0.93) / 0.10) ** 2))
    ring *= np.exp(-(((head.degrees - 45.0 * np.sign(light_x)) / 42.0) ** 2))[head.direction]
    gloss = 0.0 if person.style in ("curly", "buzz") else 0.5
    return np.asarray(np.clip(lit * (1.0 + texture) + gloss * ring * (0.7 + texture), 0.15, 2.2))


def _outer(person: Person, head: Head, noise: StrandNoise) -> Array:
    """Outer radius of the hair over the head."""
    volume = _VOLUME[person.style] * person.hair_volume * (1.0 + 0.12 * np.cos(np.radians(head.degrees - person.part)))
    bumps = 2.2 if person.style == "curly" else 0.8
    volume = 0.9 * volume + bumps * noise.at(head.degrees * 0.16) + 0.4 * bumps * noise.at(head.degrees * 0.6)
    if person.style not in _LENGTH:
        # short hair lies close at the temples and leaves the ears free
        volume = volume * np.clip((104.0 - np.abs(head.degrees)) / 55.0, 0.0, 1.0) ** 0.8
    return np.asarray(head.outline + volume[head.direction])


def _hair_colour(person: Person, brightness: Array) -> Array:
    base = np.array(person.hair)
    return np.asarray(base * brightness[..., None] + 0.05 * np.maximum(brightness - 1.0, 0.0)[..., None])


def _hanging(person: Person, head: Head, canvas: Pane, noise: StrandNoise) -> tuple[Array, Array]:
    """Signed distances of the hanging hair: to its outer border, and to its lower end."""
    dx = np.abs(canvas.x - head.middle[0])
    below = np.maximum(canvas.y - head.middle[1], 0.0)
    flare = {"long": 0.10, "bob": 0.16, "curly": 0.02}.get(person.style, 0.0)
    volume = _VOLUME[person.style] * person.hair_volume
    side = canvas.x > head.middle[0]
    wobble = 2.2 * noise.at(canvas.y * 0.07 + 90 * side) + 1.0 * noise.at(canvas.y * 0.25 + 40 * side)
    half = 66.0 * person.width + volume * 0.95 + flare * below + wobble
    if person.style == "bob":
        half = half - 26.0 * np.clip((canvas.y - 175.0) / 30.0, 0, 1) ** 2
    end = _LENGTH.get(person.style, 140.0) + 4.0 * noise.at(canvas.x * 0.12 + 9)
    return dx - half, canvas.y - end


@dataclass(frozen=True)
class Hair:
    """What back and front hair share, over the whole canvas.

    Attributes:
        brightness: strands and light, around 1.
        beyond: signed distance to the hairline, negative in the hair.
        outer: signed distance to the border over the head.
        hanging: signed distance to the border of the hanging hair, or None where it does not hang.
        lock: signed distance to the locks beside the face, or None likewise.
    """

    brightness: Array
    beyond: Array
    outer: Array
    hanging: Array | None
    lock: Array | None


def grow_hair(person: Person, head: Head, canvas: Pane, noise: StrandNoise) -> Hair | None:
    """Work out the hair once for both layers; None for a bald head."""
    if person.style == "bald":
        return None
    beyond = _hairline(person, head, noise) * head.outline - head.radius
    outer = head.radius - _outer(person, head, noise)
    hanging = lock = None
    if person.style in _LENGTH:
        hanging = np.maximum(*_hanging(person, head, canvas, noise))
        dx = np.abs(canvas.x - head.middle[0])
        gap_px = {"long": 57.0, "bob": 58.0}.get(person.style, 62.0) * person.width
        gap = (
            gap_px
            + 1.2 * noise.at(canvas.y * 0.11 + 31 * (canvas.x > head.middle[0]))
            - 0.04 * np.maximum(canvas.y - 150.0, 0)
        )
        lock = np.maximum(hanging, np.maximum(gap - dx, head.middle[1] - 30.0 - canvas.y))
    return Hair(_strands(person, head, canvas, noise), beyond, outer, hanging, lock)


def paint_back_hair(person: Person, head: Head, canvas: Pane, hair: Hair | None) -> None:
    """Paint what is seen behind the head and neck."""
    if hair is None or person.style == "buzz":
        return
    border = np.maximum(hair.outer, canvas.y - head.middle[1] - 10.0)
    if hair.hanging is not None:
        border = np.minimum(border, np.maximum(hair.hanging, head.middle[1] - canvas.y))
    canvas.paint(soft(border, 1.6), _hair_colour(person, 0.62 * hair.brightness))


def paint_front_hair(person: Person, head: Head, canvas: Pane, hair: Hair | None) -> None:
    """Paint the hair over forehead, temples and shoulders, with its shadow on the skin."""
    if hair is None:
        return
    if person.style == "buzz":
        cover = 0.66 * soft(hair.beyond, 7.0) * soft(head.distance - 1.5, 2.5)
        canvas.paint(cover, _hair_colour(person, hair.brightness))
        return
    canvas.darken(0.5 * soft(hair.beyond - 4.0, 11.0) * soft(head.distance, 1.5), (0.5, 0.4, 0.37))
    cover = soft(np.maximum(hair.beyond, hair.outer), 1.6 if person.style != "short" else 3.0)
    if hair.lock is not None:
        canvas.darken(0.45 * soft(hair.lock - 3.0, 9.0) * (canvas.y > head.middle[1] - 20.0), (0.5, 0.42, 0.4))
        cover = np.maximum(cover, soft(hair.lock, 1.6))
    brightness = hair.brightness * (1.0 - 0.3 * soft(np.abs(hair.beyond) - 1.0, 7.0))
    canvas.paint(cover, _hair_colour(person, brightness))
