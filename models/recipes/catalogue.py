"""The five recipes: which photo, what is painted as the hole, which lines are drawn into it."""

from __future__ import annotations

from dataclasses import dataclass

from dpsdata.contracts import UsageError, did_you_mean
from models.recipes.shapes import Curve, area, both, ellipse, line


@dataclass(frozen=True)
class Recipe:
    """One thing to do with an edit.

    Attributes:
        name: of its folder and for `--only`.
        title: for people.
        face: number of the sample face; 0 for the astronaut; None for a face from a sketch alone.
        hole: areas that may change.
        lines: what is drawn into the hole.
        erased: where the photo's own thin sketch is kept, the lines taken out of it; None where all is drawn by hand.
    """

    name: str
    title: str
    face: int | None
    hole: tuple[Curve, ...] = ()
    lines: tuple[Curve, ...] = ()
    erased: tuple[Curve, ...] | None = None

    @property
    def command(self) -> str:
        """The command of `dps` that does it: `edit` or `synthesize`."""
        return "synthesize" if self.face is None else "edit"

    @property
    def task(self) -> str:
        """The task of the networks that do it: `edit` or `synthesis`."""
        return "synthesis" if self.face is None else "edit"


# The lines of age of this face: two on the forehead, the bags under the eyes, one beside each corner of the mouth.
_REJUVENATION = Recipe(
    "rejuvenation",
    "Rejuvenation",
    2,
    (
        area((98, 70), (128, 66), (160, 67), (178, 76), (174, 87), (144, 84), (116, 82), (98, 79)),
        area((70, 118), (80, 130), (96, 131), (112, 126), (116, 132), (108, 141), (92, 143), (74, 136), (64, 124)),
        area((140, 126), (154, 131), (168, 130), (182, 117), (189, 123), (182, 137), (164, 143), (146, 139)),
        area((114, 152), (103, 162), (94, 180), (88, 202), (92, 214), (97, 208), (98, 196), (106, 178), (117, 163)),
        area((148, 152), (157, 160), (163, 178), (165, 200), (161, 207), (158, 196), (154, 178), (147, 163)),
    ),
    erased=(
        line((106, 73), (130, 71), (156, 73), (172, 80)),
        line((108, 78), (130, 77), (154, 79)),
        line((70, 124), (80, 135), (95, 138), (110, 133)),
        line((144, 132), (160, 137), (174, 135), (184, 124)),
        line((111, 156), (100, 170), (94, 190), (92, 206)),
        line((151, 156), (159, 170), (162, 186), (162, 200)),
    ),
)

# The hole reaches past the head on all sides, or there is no room for hair on it.
_HAIR_IMPLANT = Recipe(
    "hair-implant",
    "Hair implant",
    13,
    (
        area(
            *((128, 4), (92, 8), (62, 26), (46, 58), (44, 90), (50, 112), (60, 110), (68, 92), (84, 72), (106, 62)),
            *((128, 60), (150, 62), (174, 72), (190, 92), (198, 110), (208, 112), (214, 90), (212, 58), (194, 26)),
            (164, 8),
        ),
    ),
    (
        line(
            *((52, 108), (49, 88), (54, 58), (70, 32), (96, 16), (128, 11), (160, 16), (186, 32), (203, 58), (209, 88)),
            (206, 108),
        ),
        line((64, 98), (72, 80), (88, 64), (110, 56), (128, 54), (146, 56), (168, 64), (185, 80), (194, 98)),
        line((110, 56), (120, 38), (142, 22)),
        line((96, 60), (104, 40), (124, 22)),
        line((128, 54), (144, 40), (166, 28)),
        line((80, 70), (80, 50), (94, 32)),
        line((66, 90), (62, 74), (66, 56)),
        line((150, 57), (170, 46), (186, 46)),
        line((172, 67), (190, 66), (200, 72)),
    ),
)

# The hole covers the old jaw line too, or it would stay beside the new one.
_CHIN_SURGERY = Recipe(
    "chin-surgery",
    "Chin surgery",
    9,
    (
        area(
            *((64, 168), (70, 186), (82, 202), (100, 213), (126, 216), (146, 212), (160, 200), (169, 184), (173, 166)),
            *((184, 166), (183, 188), (176, 208), (164, 226), (148, 240), (126, 246), (104, 242), (84, 230)),
            *((66, 212), (54, 190), (51, 170)),
        ),
    ),
    (
        line(
            *((57, 170), (63, 188), (74, 204), (90, 217), (106, 226), (124, 229), (142, 226), (156, 215), (168, 200)),
            *((175, 184), (179, 168)),
        ),
        line((110, 213), (124, 210), (138, 212)),
    ),
)

_NOSE_SURGERY = Recipe(
    "nose-surgery",
    "Nose surgery",
    0,
    (area((118, 118), (134, 118), (144, 138), (154, 152), (150, 167), (126, 171), (102, 167), (98, 152), (108, 138)),),
    (
        *both(line((117, 148), (113, 156), (116, 162), (121, 159))),
        line((121, 159), (126, 163), (131, 159)),
        line((120, 120), (121, 134), (118, 146)),
    ),
)

_FACE_FROM_A_SKETCH = Recipe(
    "face-from-a-sketch",
    "A face from a sketch",
    None,
    lines=(
        *both(
            line((79, 122), (86, 115), (95, 112), (104, 115), (111, 123)),
            line((79, 122), (88, 126), (97, 127), (111, 123)),
            ellipse(94.8, 119.5, 6, 6),
            line((74, 104), (85, 98), (98, 98), (112, 103)),
            line((119, 120), (118, 140), (111, 152), (114, 158)),
            line((92, 212), (91, 232), (70, 242), (30, 252)),
        ),
        line((114, 158), (120, 157), (126, 160), (132, 157), (138, 158)),
        line((102, 183), (116, 179), (126, 181), (136, 179), (150, 183)),
        line((102, 183), (126, 186), (150, 183)),
        line((102, 183), (114, 193), (126, 196), (138, 193), (150, 183)),
        line((62, 112), (64, 150), (74, 184), (96, 213), (126, 226), (156, 213), (178, 184), (188, 150), (190, 112)),
        line((62, 112), (72, 88), (100, 66), (140, 60), (168, 76), (184, 96), (190, 112)),
        line(
            *((58, 196), (44, 160), (40, 110), (50, 60), (84, 26), (126, 16), (168, 26), (202, 60), (212, 110)),
            *((208, 160), (194, 196)),
        ),
    ),
)

RECIPES = (_REJUVENATION, _HAIR_IMPLANT, _CHIN_SURGERY, _NOSE_SURGERY, _FACE_FROM_A_SKETCH)


def find_recipes(names: tuple[str, ...]) -> tuple[Recipe, ...]:
    """The recipes of these names, in the catalogue's order; all of them for no name.

    Raises:
        UsageError: there is no recipe of a name.
    """
    known = [recipe.name for recipe in RECIPES]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(f"--only: {hint}expected one or more of {', '.join(known)}, got {name!r}")
    return tuple(recipe for recipe in RECIPES if not names or recipe.name in names)
