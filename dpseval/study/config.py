"""What a study compares and asks, as its file says: conditions of a mask family and a kind of sketch, and questions."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dpsdata.contracts import DEFAULT_LEVELS, MissingError, UsageError, check_levels
from dpsdata.masks import MASK_FAMILIES
from dpsdata.sketch.perturb import FAULTS, Fault, Perturbation
from dpseval.metrics.names import METRICS
from dpseval.scoring.config import ScoreConfig

OWN = "own"
CHOSEN = "chosen"
SetName = tuple[str, float | str | None]
_FILE_KEYS = ("title", "methods", "levels", "conditions", "split", "choose_split", "seed", "questions")
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

    def perturbation(self, size_px: int, seed: int) -> Perturbation:
        """The fault at the size of the photos."""
        assert self.fault is not None  # noqa: S101 (for the type checker)
        scale = 1.0 if self.fault == "dropped" else size_px / _REFERENCE_PX
        return Perturbation(self.fault, self.amount * scale, seed)


@dataclass(frozen=True)
class Condition:
    """One mask family with one kind of sketch."""

    masks: str
    sketch: SketchCase

    @property
    def name(self) -> str:
        """For folders and tables."""
        return f"{self.masks}/{self.sketch.name}"


@dataclass(frozen=True)
class Question:
    """A claim, tested in every condition that has both sets of a pair.

    Attributes:
        name: in `answers.csv`.
        text: for people.
        pairs: the set that should be better, and the one that it is compared with. A set is a method and a level:
            a number, `chosen` for the one that was chosen on the other split, None for a method without levels.
        metrics: columns of `per_image.csv`, in the hole; `edge_f_drawn:own` asks only where the sketch is the photo's.
        worse: whether the claim is that the first set is the worse one.
    """

    name: str
    text: str
    pairs: tuple[tuple[SetName, SetName], ...]
    metrics: tuple[str, ...] = ("psnr", "hedps")
    worse: bool = False

    def __post_init__(self) -> None:
        for metric in self.metrics:
            if METRICS.get(metric.partition(":")[0]) is None:
                raise UsageError(f"questions: {self.name}: expected names of per_image.csv, got {metric!r}")


@dataclass(frozen=True)
class StudyConfig:
    """What to compare, on which photos.

    Attributes:
        built: folder that `dpsdata build` made.
        out: folder of the report, without any photo but those of `shown`.
        work: folder of outputs, perturbed sketches and single reports; a study goes on there.
        methods: names of `models.methods.registry.METHODS`; Deep Plastic Surgery, `dps`, must be among them.
        conditions: what is compared; the mask family of the first one is that on which levels are chosen.
        questions: what is tested.
        title: of the report.
        levels: refinement levels in [0, 1], of the methods that have them.
        split: name of the split that is scored.
        choose_split: name of the split that levels are chosen on; it must be another one.
        weights: by method, as in `SweepConfig`.
        batch_size: photos in one pass.
        seed: of the sketches' faults, of noise and of intervals.
        shown: ids of photos that the report may show.
        jobs: conditions in that many processes at once; 1 for one after the other, 0 for one a core.
        score: how to score.
    """

    built: Path
    out: Path
    work: Path
    methods: tuple[str, ...]
    conditions: tuple[Condition, ...]
    questions: tuple[Question, ...] = ()
    title: str = "Methods over masks and sketches"
    levels: tuple[float, ...] = DEFAULT_LEVELS
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
        if self.jobs < 0:
            raise UsageError(f"--jobs: expected a whole number of at least 0, got {self.jobs}")
        if not self.conditions or len(set(self.conditions)) < len(self.conditions):
            raise UsageError("conditions: expected at least one MASKS:SKETCH, each once")
        if self.split == self.choose_split or "all" in (self.split, self.choose_split):
            raise UsageError(
                f"split: levels are chosen on {self.choose_split}, so a split of other photos must be scored"
            )
        for question in self.questions:
            for method, level in itertools.chain(*question.pairs):
                if method not in self.methods or (level not in (None, CHOSEN) and level not in self.levels):
                    raise UsageError(
                        f"questions: {question.name}: {say_set(method, level)} is not among the methods and levels of "
                        "the study"
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
        raise UsageError(f"conditions: {expected}, got {text!r}")
    try:
        case = SketchCase(f"{fault}-{float(amount):g}", fault, float(amount))
    except ValueError:
        raise UsageError(f"conditions: {expected}, got {text!r}") from None
    case.perturbation(_REFERENCE_PX, 0)
    return case


def parse_conditions(texts: tuple[str, ...]) -> tuple[Condition, ...]:
    """Read MASKS:SKETCH,SKETCH,... once for each mask family.

    Raises:
        UsageError: no such mask family or kind of sketch.
    """
    conditions = []
    for text in texts:
        masks, _, sketches = text.partition(":")
        if masks not in MASK_FAMILIES:
            raise UsageError(f"conditions: expected one of {', '.join(MASK_FAMILIES)} before the colon, got {masks!r}")
        conditions += [Condition(masks, parse_sketch(word.strip())) for word in (sketches or OWN).split(",")]
    return tuple(conditions)


def say_set(method: str, level: float | str | None) -> str:
    """A set in words."""
    return method if level is None else f"{method} at {level if isinstance(level, str) else f'{level:g}'}"


def read_study(path: Path) -> dict[str, Any]:
    """The fields of `StudyConfig` that the file of a study gives; `reports/comparison/study.toml` has all of them.

    Raises:
        MissingError: no such file.
        UsageError: it is no TOML, or holds something else.
    """
    try:
        with path.open("rb") as stream:
            found = tomllib.load(stream)
        unknown = sorted(set(found) - set(_FILE_KEYS))
        if unknown or not {"methods", "conditions"} <= set(found):
            raise UsageError(
                f"{path}: expected methods and conditions, and of {', '.join(_FILE_KEYS)} what is needed; got "
                f"{', '.join(unknown or found) or 'nothing'}"
            )
        found["conditions"] = parse_conditions(tuple(found.pop("conditions")))
        for key, kind in (("methods", tuple), ("levels", lambda levels: check_levels(tuple(map(float, levels))))):
            if key in found:
                found[key] = kind(found[key])
        found["questions"] = tuple(
            Question(
                **{
                    **item,
                    "pairs": tuple((_read_set(left), _read_set(right)) for left, right in item["pairs"]),
                    "metrics": tuple(item.get("metrics", Question.metrics)),
                }
            )
            for item in found.get("questions", ())
        )
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; see reports/comparison/study.toml for an example") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: not a study file: {error}; see reports/comparison/study.toml") from None
    return found


def _read_set(text: str) -> SetName:
    method, _, level = text.partition("@")
    return method, None if not level else CHOSEN if level == CHOSEN else float(level)
