"""Who is drawn: the traits of one portrait, drawn from a keyed generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

HairStyle = Literal["bald", "buzz", "short", "swept", "fringe", "bob", "long", "curly"]
Beard = Literal["none", "stubble", "moustache", "full"]
Glasses = Literal["none", "round", "square"]
Collar = Literal["round", "v", "shirt"]
Colour = tuple[float, float, float]

EYE_LEFT = (94.8, 120.1)
EYE_RIGHT = (157.3, 120.3)

_SKIN = (
    (249, 221, 203),
    (241, 203, 178),
    (228, 182, 150),
    (204, 152, 117),
    (168, 117, 86),
    (128, 86, 63),
    (96, 64, 48),
)
_HAIR = ((30, 26, 26), (52, 37, 30), (84, 57, 39), (128, 93, 62), (196, 160, 106), (142, 70, 38), (142, 140, 138))
_IRIS = ((74, 48, 30), (94, 64, 36), (108, 96, 54), (76, 110, 84), (84, 116, 146), (112, 128, 138))
_CLOTHES = ((44, 52, 70), (120, 42, 46), (64, 92, 74), (206, 204, 198), (92, 96, 104), (196, 150, 70), (36, 36, 40))
_STYLES: tuple[HairStyle, ...] = ("bald", "buzz", "short", "swept", "fringe", "bob", "long", "curly")
_STYLE_ODDS_BEARDED = (0.12, 0.16, 0.26, 0.24, 0.06, 0.02, 0.04, 0.10)
_STYLE_ODDS = (0.03, 0.04, 0.13, 0.15, 0.17, 0.16, 0.20, 0.12)
_GLASSES: tuple[Glasses, ...] = ("none", "round", "square")
_COLLARS: tuple[Collar, ...] = ("round", "v", "shirt")
_BEARDS: tuple[Beard, ...] = ("none", "stubble", "moustache", "full")


@dataclass(frozen=True)
class Person:
    """Traits of one drawn person; lengths in pixels of the 256 px frame, colours in [0, 1].

    Attributes:
        yaw: turn of the head in [-1, 1], positive to the picture's right.
        pitch: nod in [-1, 1], positive downwards.
        body_roll: tilt of neck and shoulders against the levelled eyes, px of shift per px of depth.
        width, jaw, length: scales of the head outline around 1.
        age: 0 young to 1 old.
        light: direction to the light, (x right, y down, z to the viewer), unit length.
    """

    yaw: float
    pitch: float
    body_roll: float
    width: float
    jaw: float
    length: float
    age: float
    light: tuple[float, float, float]
    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    clothes: Colour
    background: Colour
    style: HairStyle
    part: float
    hair_volume: float
    beard: Beard
    glasses: Glasses
    earrings: bool
    collar: Collar
    eye_open: float
    eye_width: float
    eye_tilt: float
    gaze: float
    brow_height: float
    brow_thickness: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lip_height: float
    smile: float
    mouth_open: float
    freckles: bool


def _pick(rng: np.random.Generator, colours: tuple[tuple[int, int, int], ...]) -> Colour:
    """A colour between two neighbours of a list, slightly changed."""
    place = rng.uniform(0, len(colours) - 1)
    low = min(int(place), len(colours) - 2)
    mixed = (1 - (place - low)) * np.array(colours[low]) + (place - low) * np.array(colours[low + 1])
    red, green, blue = np.clip(mixed / 255.0 + rng.normal(0, 0.012, 3), 0.02, 0.98)
    return float(red), float(green), float(blue)


def _light(rng: np.random.Generator) -> tuple[float, float, float]:
    direction = np.array([rng.choice([-1, 1]) * rng.uniform(0.15, 0.62), rng.uniform(-0.62, -0.25), 0.8])
    x, y, z = direction / np.linalg.norm(direction)
    return float(x), float(y), float(z)


def draw_person(rng: np.random.Generator) -> Person:
    """Draw the traits of one person."""
    bearded = rng.random() < 0.5
    beard = _BEARDS[rng.choice(4, p=(0.3, 0.25, 0.12, 0.33))] if bearded else "none"
    style = _STYLES[rng.choice(8, p=_STYLE_ODDS_BEARDED if bearded else _STYLE_ODDS)]
    age = float(rng.beta(1.6, 2.4))
    skin = _pick(rng, _SKIN)
    dark_skin = sum(skin) < 1.5
    hair = _pick(rng, _HAIR[:3] if dark_skin else _HAIR)
    if age > 0.65 and rng.random() < 0.8:
        grey = rng.uniform(0.45, 0.8)
        hair = cast(Colour, tuple(float(0.3 * part + 0.7 * grey) for part in hair))
    made_up = 0.0 if bearded else float(rng.uniform(0.0, 0.75))
    rouge = np.array([rng.uniform(0.62, 0.8), rng.uniform(0.2, 0.36), rng.uniform(0.26, 0.4)])
    plain = np.array(skin) * (0.86, 0.66, 0.66)
    lips = cast(Colour, tuple(float(part) for part in (1 - made_up) * plain + made_up * rouge))
    shade = rng.uniform(0.25, 0.85)
    background = cast(Colour, tuple(float(part) for part in np.clip(shade + rng.normal(0, 0.09, 3), 0.08, 0.95)))
    return Person(
        yaw=float(np.clip(rng.normal(0, 0.42), -1, 1)),
        pitch=float(np.clip(rng.normal(0, 0.4), -1, 1)),
        body_roll=float(rng.normal(0, 0.07)),
        width=float(rng.uniform(0.95, 1.06)),
        jaw=float(rng.uniform(1.0, 1.11) if bearded else rng.uniform(0.93, 1.05)),
        length=float(rng.uniform(0.95, 1.04)),
        age=age,
        light=_light(rng),
        skin=skin,
        hair=hair,
        iris=_pick(rng, _IRIS[:2] if dark_skin else _IRIS),
        lips=lips,
        clothes=_pick(rng, _CLOTHES),
        background=background,
        style=style,
        part=float(rng.choice([-1, 1]) * rng.uniform(0.0, 38.0)),
        hair_volume=float(rng.uniform(0.75, 1.35)),
        beard=beard,
        glasses=_GLASSES[rng.choice(3, p=(0.78, 0.11, 0.11))],
        earrings=bool(not bearded and rng.random() < 0.3),
        collar=_COLLARS[rng.choice(3)],
        eye_open=float(rng.uniform(0.82, 1.15)),
        eye_width=float(rng.uniform(14.2, 16.6)),
        eye_tilt=float(rng.normal(0.05, 0.045)),
        gaze=float(np.clip(rng.normal(0, 1.1), -2.5, 2.5)),
        brow_height=float(rng.uniform(14.5, 19.5)),
        brow_thickness=float(rng.uniform(2.2, 3.3) if bearded else rng.uniform(1.3, 2.5)),
        nose_width=float(rng.uniform(0.88, 1.18)),
        nose_length=float(rng.uniform(0.94, 1.07)),
        mouth_width=float(rng.uniform(21.0, 26.5)),
        lip_height=float(rng.uniform(0.75, 1.25)),
        smile=float(rng.uniform(0.0, 1.35)),
        mouth_open=float(max(0.0, rng.uniform(-1.3, 1.0))),
        freckles=bool(not dark_skin and rng.random() < 0.2),
    )
