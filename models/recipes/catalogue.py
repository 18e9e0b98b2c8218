"""The five recipes: which photo, what is painted as the hole, which lines are drawn into it."""

from __future__ import annotations

from dataclasses import dataclass

from dpsdata.contracts import UsageError
from models.recipes.shapes import Curve, area, both, ellipse, line


@dataclass(frozen=True)
class Recipe:
    """One thing to do with an edit.

    Attributes:
        name: of its folder and for `--only`.
        title: for people.
        portrait: number of the drawn portrait; 0 for the astronaut; None for a face from a sketch alone.
        hole: areas that may change.
        lines: what is drawn into the hole.
        erased: where the photo's own thin sketch is kept, the lines taken out of it; None where all is drawn by hand.
        feather_px: soft transition inside of the hole, px.
    """

    name: str
    title: str
    portrait: int | None
    hole: tuple[Curve, ...] = ()
    lines: tuple[Curve, ...] = ()
    erased: tuple[Curve, ...] | None = None
    feather_px: float = 0.0

    @property
    def command(self) -> str:
        """The command of `dps` that does it: `edit` or `synthesize`."""
        return "synthesize" if self.portrait is None else "edit"

    @property
    def task(self) -> str:
        """The task of the networks that do it: `edit` or `synthesis`."""
        return "synthesis" if self.portrait is None else "edit"


# The lines of age of the drawn portraits: three on the forehead, one under each eye, one beside the mouth.
_REJUVENATION = Recipe(
    "rejuvenation",
    "Rejuvenation",
    161,
    (
        ellipse(126, 85, 36, 11),
        *both(
            area((74, 131), (84, 130.5), (95, 132), (106, 131), (112, 131), (108, 141), (95, 145), (81, 141)),
            area(
                (116, 150), (108, 157), (97, 172), (90, 188), (92, 196), (98, 194), (104, 182), (111, 168), (118, 162)
            ),
        ),
    ),
    erased=(
        *(line((90, y), (108, y - 2), (126, y), (144, y - 2), (162, y)) for y in (79, 86.5, 94)),
        *both(line((78, 130), (95, 135.5), (112, 130)), line((112, 158), (103, 168), (95, 187))),
    ),
    feather_px=8.0,
)

# The hole reaches past the head on all sides, or there is no room for hair on it.
_HAIR_IMPLANT = Recipe(
    "hair-implant",
    "Hair implant",
    201,
    (
        area(
            *((126, 6), (90, 10), (60, 28), (44, 60), (42, 100), (48, 128), (58, 128), (66, 104), (80, 82), (104, 72)),
            *((126, 70), (148, 72), (172, 82), (186, 104), (194, 128), (204, 128), (210, 100), (208, 60), (192, 28)),
            (162, 10),
        ),
    ),
    (
        line(
            *((52, 122), (50, 95), (53, 62), (68, 34), (94, 18), (126, 13), (158, 18), (184, 34), (199, 62), (202, 95)),
            (200, 122),
        ),
        line((62, 112), (70, 90), (88, 72), (110, 66), (126, 65), (142, 66), (164, 72), (182, 90), (190, 112)),
        *both(
            line((118, 62), (112, 40), (104, 22)),
            line((96, 66), (84, 48), (74, 36)),
            line((74, 82), (64, 70), (57, 62)),
        ),
    ),
    feather_px=4.0,
)

# The hole covers the old jaw line too, or it would stay beside the new one.
_CHIN_SURGERY = Recipe(
    "chin-surgery",
    "Chin surgery",
    304,
    (
        area(
            *((59, 134), (68, 144), (76, 168), (90, 194), (108, 210), (126, 213), (144, 210), (162, 194), (176, 168)),
            *((184, 144), (195, 134), (195, 150), (191, 178), (184, 200), (168, 222), (146, 234), (126, 236)),
            *((106, 234), (84, 222), (68, 200), (62, 180), (58, 150)),
        ),
    ),
    (
        line(
            *((60, 136), (66, 162), (78, 188), (96, 212), (112, 224), (126, 228), (140, 224), (156, 212), (174, 188)),
            *((186, 162), (192, 136)),
        ),
        *both(line((90, 210), (89, 224), (86, 238))),
    ),
    feather_px=4.0,
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
    feather_px=6.0,
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
            raise UsageError(f"there is no recipe {name!r}; pass one or more of {', '.join(known)} to --only")
    return tuple(recipe for recipe in RECIPES if not names or recipe.name in names)
