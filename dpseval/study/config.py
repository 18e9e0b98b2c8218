"""What a study compares: cells of a mask family and a kind of sketch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dpsdata.contracts import UsageError
from dpsdata.masks import MASK_FAMILIES
from dpsdata.sketch.perturb import FAULTS, Disturbance, Fault
from dpseval.scoring.config import ScoreConfig

OWN = "own"
_REFERENCE_PX = 256


@dataclass(frozen=True)
class SketchCase:
    """A kind of sketch that methods are given.

    Attributes:
        name: `own` for the stored thin sketch, or such as `displaced-8`, `deformed-4`, `dropped-0.33`.
        fault: how it is made poor; None for `own`.
        amount: of the fault; a distance is in px of a 256 px photo and scales with the side.
    """

    name: str
    fault: Fault | None = None
    amount: float = 0.0

    def disturbance(self, size_px: int, seed: int) -> Disturbance:
        """The fault at the size of the photos."""
        assert self.fault is not None  # noqa: S101 (for the type checker)
        scale = 1.0 if self.fault == "dropped" else size_px / _REFERENCE_PX
        return Disturbance(self.fault, self.amount * scale, seed)


@dataclass(frozen=True)
class Cell:
    """One mask family with one kind of sketch."""

    masks: str
    sketch: SketchCase

    @property
    def name(self) -> str:
        """For folders and tables."""
        return f"{self.masks}/{self.sketch.name}"


@dataclass(frozen=True)
class StudyConfig:
    """What to compare, on which photos.

    Attributes:
        built: folder that `dpsdata build` made.
        out: folder of the report, without any photo but those of `shown`.
        work: folder of outputs, disturbed sketches and single reports; a study goes on there.
        methods: names of `models.methods.registry.METHODS`; Deep Plastic Surgery, `dps`, must be among them.
        cells: what is compared; the mask family of the first one is that on which levels are chosen.
        levels: refinement levels in [0, 1], of the methods that have them; 0 and 1 must be among them.
        split: name of the split that is scored.
        choose_split: name of the split that levels are chosen on; it must be another one.
        weights: by method, as in `SweepConfig`.
        batch_size: photos in one pass.
        seed: of the sketches' faults, of noise and of intervals.
        shown: ids of photos that the report may show.
        jobs: cells in that many processes at once; 1 for one after the other, 0 for one a core.
        score: how to score.
    """

    built: Path
    out: Path
    work: Path
    methods: tuple[str, ...]
    cells: tuple[Cell, ...]
    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    split: str = "test"
    choose_split: str = "val"
    weights: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 16
    seed: int = 0
    shown: tuple[str, ...] = ()
    jobs: int = 1
    score: ScoreConfig = field(default_factory=ScoreConfig)

    def __post_init__(self) -> None:
        if "dps" not in self.methods:
            raise UsageError("methods: a study is about dps, which must be among them")
        if not {0.0, 1.0} <= set(self.levels):
            raise UsageError("levels: a study compares level 0 with level 1; name both")
        if self.jobs < 0:
            raise UsageError(f"--jobs: expected a whole number from 0, got {self.jobs}")
        if not self.cells or len(set(self.cells)) < len(self.cells):
            raise UsageError("--cell: expected at least one MASKS:SKETCH, each once")
        if self.split == self.choose_split or "all" in (self.split, self.choose_split):
            raise UsageError(
                f"split: levels are chosen on {self.choose_split}, so a split of other photos must be scored"
            )
        places = {"out": self.out.resolve(), "work": self.work.resolve(), "BUILT": self.built.resolve()}
        for name, other in (("work", "out"), ("work", "BUILT"), ("out", "BUILT")):
            if places[name].is_relative_to(places[other]) or places[other].is_relative_to(places[name]):
                raise UsageError(f"{name}: expected another folder than {other}, and not inside of it or around it")


def parse_sketch(text: str) -> SketchCase:
    """Read `own`, `displaced-8`, `deformed-4` or `dropped-0.33`; raise UsageError for anything else."""
    if text == OWN:
        return SketchCase(OWN)
    name, _, amount = text.partition("-")
    expected = f"expected {OWN} or FAULT-AMOUNT such as {', '.join(f'{fault}-8' for fault in FAULTS[:2])}, dropped-0.33"
    fault = next((item for item in FAULTS if item == name), None)
    if fault is None:
        raise UsageError(f"--cell: {expected}, got {text!r}")
    try:
        case = SketchCase(f"{fault}-{float(amount):g}", fault, float(amount))
    except ValueError:
        raise UsageError(f"--cell: {expected}, got {text!r}") from None
    case.disturbance(_REFERENCE_PX, 0)
    return case


def parse_cells(texts: tuple[str, ...]) -> tuple[Cell, ...]:
    """Read MASKS:SKETCH,SKETCH,... once for each mask family.

    Raises:
        UsageError: no such mask family or kind of sketch.
    """
    cells = []
    for text in texts:
        masks, _, sketches = text.partition(":")
        if masks not in MASK_FAMILIES:
            raise UsageError(f"--cell: expected one of {', '.join(MASK_FAMILIES)} before the colon, got {masks!r}")
        cells += [Cell(masks, parse_sketch(word.strip())) for word in (sketches or OWN).split(",")]
    return tuple(cells)
