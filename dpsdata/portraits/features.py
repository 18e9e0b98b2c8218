"""Eyes, brows, nose lines, mouth, beard and glasses."""

from __future__ import annotations

import numpy as np

from dpsdata.portraits.canvas import Array, Pane, StrandNoise, bump, ellipse, soft, stroke
from dpsdata.portraits.head import Head
from dpsdata.portraits.person import EYE_LEFT, EYE_RIGHT, Person


def _both_eyes() -> tuple[tuple[float, tuple[float, float]], ...]:
    return (-1.0, EYE_LEFT), (1.0, EYE_RIGHT)


def paint_eyes(person: Person, canvas: Pane) -> None:
    """Paint both eyes: white, iris, pupil, highlight, lids, crease and lashes."""
    for side, (x, y) in _both_eyes():
        half = person.eye_width * (1.0 - 0.09 * side * person.yaw)
        pane = canvas.crop(x - half - 7, y - 19, x + half + 7, y + 15)
        across = (pane.x - x) / half
        inside = np.clip(1.0 - across**2, 0.0, 1.0)
        tilt = -person.eye_tilt * side * (pane.x - x)
        # the lid peaks a little towards the nose, the lower lid sags a little outwards
        upper = y + tilt + 1.0 - (7.6 * person.eye_open) * inside**0.72 * (1.0 - 0.10 * side * across)
        lower = y + tilt + 1.0 + (5.0 * person.eye_open) * inside**0.85 * (1.0 + 0.15 * side * across)
        opening = soft(np.maximum(upper - pane.y, pane.y - lower), 1.0) * soft(np.abs(across) * half - half, 1.0)
        white = 0.92 - 0.30 * np.abs(across) ** 2.5 - 0.34 * soft(pane.y - upper - 2.4, 5.0)
        white_rgb = np.clip(white, 0, 1)[..., None] * np.array([1.0, 0.972, 0.955])
        iris_x, iris_y, iris_r = x + person.gaze, y - 0.6, 7.0
        reach = np.hypot(pane.x - iris_x, pane.y - iris_y)
        spokes = 1.0 + 0.12 * np.sin(11.0 * np.arctan2(pane.y - iris_y, pane.x - iris_x) + x)
        glow = spokes * (0.72 + 0.75 * soft(iris_y - pane.y, 12.0)) * (1.0 - 0.6 * soft(iris_r - 1.4 - reach, 2.0))
        eye = white_rgb + soft(reach - iris_r, 1.2)[..., None] * (np.array(person.iris) * glow[..., None] - white_rgb)
        eye *= 1.0 - 0.94 * soft(reach - 3.0, 1.0)[..., None]
        eye *= 1.0 - 0.45 * soft(pane.y - upper - 1.2, 3.0)[..., None]
        spot_x, spot_y = iris_x + 3.2 * np.sign(person.light[0]), iris_y - 2.6
        eye += soft(ellipse(pane, spot_x, spot_y, 1.6, 1.6), 1.0)[..., None] * (0.97 - eye)
        pane.paint(opening, eye)
        corner = bump(pane, x - side * (half - 1.5), y + 1.5, 1.7, 1.4)
        pane.paint(0.55 * corner, np.array(person.skin) * (0.92, 0.6, 0.58))
        _paint_lids(person, pane, side, across, upper, lower)


def _paint_lids(person: Person, pane: Pane, side: float, across: Array, upper: Array, lower: Array) -> None:
    within = np.clip(1.12 - np.abs(across), 0.0, 1.0) ** 0.5 * (np.abs(across) < 1.12)
    outwards = np.clip(0.6 + 0.5 * side * across, 0.2, 1.2)
    lashes = 0.75 if person.beard == "none" else 0.35
    pane.paint(
        0.93 * soft(stroke(pane, upper, 0.35 + lashes * outwards * within), 1.1) * (within > 0), (0.12, 0.08, 0.07)
    )
    crease = upper - 4.6 + 1.6 * np.abs(across) ** 2
    pane.darken(0.62 * within * soft(stroke(pane, crease, 0.35), 1.7), (0.52, 0.4, 0.37))
    lid = soft(np.maximum(crease - pane.y, pane.y - upper), 2.0) * within
    pane.darken(0.28 * lid, (0.72, 0.58, 0.56))
    pane.darken(0.5 * within * soft(stroke(pane, lower + 0.3, 0.2 + 0.25 * outwards), 1.2), (0.5, 0.34, 0.32))


def paint_brows(person: Person, canvas: Pane, noise: StrandNoise) -> None:
    """Paint both brows as tapering arches made of hairs."""
    colour = np.array(person.hair) * 0.55 + np.array(person.skin) * 0.12
    for side, (x, y) in _both_eyes():
        inner, outer = x - side * 17.5, x + side * 21.0
        pane = canvas.crop(min(inner, outer) - 1, y - 36, max(inner, outer) + 1, y - 2)
        along = np.clip((pane.x - inner) / (outer - inner), 0.0, 1.0)
        arch = y - person.brow_height + 1.6 - 5.0 * np.sin(np.pi * np.clip(along * 0.92, 0, 1)) ** 1.4 + 4.2 * along**3
        thick = (
            person.brow_thickness * (0.55 + 0.75 * np.sin(np.pi * np.clip(0.22 + 0.7 * along, 0, 1))) * (1 - along**5)
        )
        hairs = noise.at((pane.x * side * 0.8 + (pane.y - arch) * 0.8) + 40 * x)
        cover = soft(stroke(pane, arch, thick + 0.25 * hairs), 1.7) * np.clip(along * 9 + 0.2, 0, 1)
        pane.paint(np.clip(0.84 + 0.10 * hairs, 0, 0.95) * cover, colour)


def paint_nose(person: Person, head: Head, canvas: Pane) -> None:
    """Paint nostrils, wings and the shadow under the tip."""
    x, y = head.nose
    wide = person.nose_width
    pane = canvas.crop(x - 24, y - 14, x + 24, y + 20)
    pane.darken(0.42 * bump(pane, x + 4.0 * -np.sign(person.light[0]), y + 8.5, 9.5 * wide, 3.2), (0.62, 0.48, 0.45))
    for side in (-1.0, 1.0):
        pane.darken(0.88 * soft(ellipse(pane, x + side * 5.9 * wide, y + 5.4, 3.3 * wide, 1.7), 1.6), (0.3, 0.18, 0.16))
        wing = ellipse(pane, x + side * 9.6 * wide, y + 1.0, 5.0 * wide, 6.0)
        outer = soft(-side * (pane.x - x - side * 9.6 * wide) + 0.5, 5.0) * soft(y - 4.0 - pane.y, 6.0)
        strength = 0.62 if side * person.light[0] < 0 else 0.42
        pane.darken(strength * outer * soft(np.abs(wing) - 0.35, 1.7), (0.5, 0.36, 0.33))
    base = y + 7.4 - 1.5 * np.cos((pane.x - x) / 4.0)
    fade = np.clip(1.0 - np.abs(pane.x - x) / (9.0 * wide), 0, 1)
    pane.darken(0.4 * fade * soft(stroke(pane, base, 0.4), 1.8), (0.55, 0.42, 0.4))


def paint_mouth(person: Person, head: Head, canvas: Pane) -> None:
    """Paint lips, the line between them, and teeth when the mouth is open."""
    x, y = head.mouth
    half = person.mouth_width * (1.0 + 0.12 * max(person.smile, 0.0))
    pane = canvas.crop(x - half - 6, y - 18, x + half + 6, y + 24)
    across = (pane.x - x) / half
    inside = np.clip(1.0 - across**2, 0.0, 1.0)
    level = y + 2.2 * person.smile * (1.0 - 2.4 * across**2)
    gap = 6.5 * person.mouth_open * inside**0.8
    bow = 1.1 * np.exp(-((across / 0.13) ** 2)) - 0.9 * np.exp(-(((np.abs(across) - 0.2) / 0.16) ** 2))
    upper = level - gap * 0.35 - (5.6 * person.lip_height * inside**0.95) + bow * person.lip_height * inside
    lower = level + gap * 0.65 + 7.6 * person.lip_height * inside**0.75
    top_line = level - gap * 0.35 + 0.9 * np.exp(-((across / 0.18) ** 2))
    low_line = level + gap * 0.65
    ends = np.abs(across) < 1.0
    lips = np.array(person.lips)
    light = 1.0 + 0.10 * person.light[0] * across
    mouth = soft(np.maximum(upper - pane.y, pane.y - lower), 1.3) * ends
    upper_part = soft(pane.y - top_line, 1.5)
    roll = (pane.y - low_line) / np.maximum(lower - low_line, 0.5)
    tone = upper_part * 0.76 + (1 - upper_part) * (0.86 + 0.26 * np.sin(np.pi * np.clip(roll, 0, 1)))
    tone = tone * (1 + 0.03 * np.sin(pane.x * 1.9 + np.sin(pane.y)))
    pane.paint(0.92 * mouth, lips * (tone * light)[..., None])
    pane.rgb[...] += (
        0.13 * bump(pane, x + 5 * person.light[0], y + 6.2 + gap.max() * 0.65, 6.0, 1.4)[..., None] * mouth[..., None]
    )
    if gap.max() > 1.2:
        opening = soft(np.maximum(top_line - pane.y, pane.y - low_line), 1.0) * ends
        teeth = soft(np.abs(across) - 0.74, 0.25) * soft(pane.y - top_line - gap * 0.72, 1.0)
        pale = (0.9 - 0.35 * across**2) * (1 - 0.13 * soft(np.abs(np.sin(pane.x * np.pi / 6.4 - x)) - 0.08, 0.2))
        pane.paint(opening, np.array([0.26, 0.09, 0.09]) + 0 * pane.rgb)
        pane.paint(opening * teeth, pale[..., None] * np.array([0.97, 0.95, 0.91]))
        pane.darken(0.6 * ends * soft(stroke(pane, low_line, 0.2), 1.2), (0.5, 0.3, 0.3))
    fade = np.clip(1.1 - np.abs(across), 0, 1) ** 0.4 * (np.abs(across) < 1.1)
    pane.darken(0.9 * fade * soft(stroke(pane, top_line, 0.45), 1.3), (0.36, 0.2, 0.2))
    for side in (-1.0, 1.0):
        corner_y = float(np.interp(x + side * half, pane.x[0], level[0]))
        pane.darken(0.5 * bump(pane, x + side * (half + 0.5), corner_y, 2.2, 1.8), (0.5, 0.34, 0.32))
    pane.darken(0.3 * fade * soft(stroke(pane, lower + 2.2, 0.6), 4.0), (0.66, 0.5, 0.48))


def paint_beard(person: Person, head: Head, canvas: Pane, noise: StrandNoise) -> None:
    """Paint stubble, a moustache or a full beard, before the mouth is painted."""
    if person.beard == "none":
        return
    x, y = head.mouth
    pane = canvas.crop(20, 120, 236, 256)
    distance = head.distance[canvas.window(20, 120, 236, 256)]
    grain = (
        noise.at(pane.x * 1.3 + noise.at(pane.y * 0.22) * 2.0) * 0.6 + noise.at(pane.x * 2.3 + pane.y * 0.5 + 99) * 0.5
    )
    side = np.abs(pane.x - x)
    cheek = y - 10.0 - 0.020 * np.clip(side - 26.0, 0, None) ** 2 + 0 * pane.y
    cheek = np.where(side < 31.0, np.maximum(cheek, y - 6.0), cheek) + 1.4 * grain
    chin = soft(cheek - pane.y, 9.0) * soft(distance - 3.5 - 1.6 * grain, 3.0)
    bare = soft(ellipse(pane, x, y + 3.0, person.mouth_width + 3.0, 12.0), 4.0)
    chin *= 1.0 - bare * (1 - 0.7 * soft(y + 13.0 - pane.y, 3.0) * soft(side - 4.5, 3.0))
    lip_top = y - 6.5 + 0.010 * side**2
    lip = soft(np.maximum(lip_top - 7.5 + 0.10 * side - pane.y, pane.y - lip_top) + 0.6 * grain, 3.0)
    lip *= soft(side - person.mouth_width - 5.0, 6.0)
    connect = soft(np.abs(side - person.mouth_width - 4.5 - 0.1 * (pane.y - y)) - 4.0, 4.0) * soft(
        np.abs(pane.y - y - 3) - 11.0, 6.0
    )
    if person.beard == "moustache":
        cover, strength = lip, 0.85
    elif person.beard == "full":
        cover, strength = np.maximum(np.maximum(chin, lip), connect), 0.86
    else:
        cover, strength = np.maximum(np.maximum(chin, lip), connect), 0.34
    lit = 0.8 + 0.22 * grain + 0.35 * person.light[0] * np.clip((pane.x - x) / 60.0, -1, 1)
    colour = np.array(person.hair) * np.clip(lit, 0.3, 1.6)[..., None]
    if person.beard == "stubble":
        colour = 0.6 * colour + 0.4 * pane.rgb * 0.6
    pane.paint(strength * cover * np.clip(0.9 + 0.15 * grain, 0, 1), colour)


def paint_glasses(person: Person, head: Head, canvas: Pane) -> None:
    """Paint a thin or thick frame with its bridge, temples and a faint reflection."""
    if person.glasses == "none":
        return
    thick = 1.1 if person.glasses == "round" else 1.7
    colour = (0.1, 0.09, 0.1) if person.glasses == "square" else (0.42, 0.34, 0.22)
    pane = canvas.crop(40, 92, 214, 156)
    power = 2.2 if person.glasses == "round" else 4.0
    high = 21.0 if person.glasses == "round" else 17.0
    for side, (eye_x, eye_y) in _both_eyes():
        x, y = eye_x + side * 1.5, eye_y + 3.5
        reach = (np.abs((pane.x - x) / 24.0) ** power + np.abs((pane.y - y) / high) ** power) ** (1 / power)
        edge = (reach - 1.0) * (high + 24.0) / 2
        pane.darken(0.35 * soft(np.abs(edge - 2.6) - 0.8, 3.5), (0.6, 0.5, 0.48))
        pane.paint(0.06 * soft(edge), (0.85, 0.93, 1.0))
        glare = soft(np.abs(pane.x - x + 0.7 * (pane.y - y) + 9.0) - 2.2, 1.5) * soft(edge + 3.0, 2.0)
        pane.paint(0.13 * glare, (1.0, 1.0, 1.0))
        pane.paint(0.95 * soft(np.abs(edge) - thick, 1.1), colour)
        start = x + side * 24.0
        reach_out = side * (pane.x - start)
        room = max(side * (head.middle[0] - start) + 66.0 * person.width, 2.0)
        temple = soft(np.abs(pane.y - (y - 5.0 - 0.03 * reach_out)) - thick, 1.1)
        temple *= soft(np.abs(reach_out - room / 2) - room / 2)
        pane.paint(0.95 * temple, colour)
    middle = (EYE_LEFT[0] + EYE_RIGHT[0]) / 2
    curve = 119.0 + 0.05 * (pane.x - middle) ** 2
    pane.paint(0.95 * soft(stroke(pane, curve, thick), 1.1) * soft(np.abs(pane.x - middle) - 7.0), colour)
