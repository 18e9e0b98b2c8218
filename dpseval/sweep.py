"""Methods x levels to outputs on disk, then to one report: the one bridge from this room to `models`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsdata.contracts import FindingsError, MissingError, UsageError
from dpsdata.dataset.manifest import read_dataset
from dpsdata.weights.store import home_folder
from dpseval.scoring.config import ScoreConfig
from models.methods.registry import TIME_LIMIT_S, default_weights, find_method
from models.methods.weights import check_method_weights, find_method_weights
from models.weights.bundled import typed_weights

if TYPE_CHECKING:  # torch takes seconds: a mistyped name shows before it is loaded
    from dpseval.scoring.score import Scores
    from models.methods.predictor import MethodPredictor
    from models.prediction.folder import PredictCounts
    from models.prediction.settings import PredictConfig

Say = Callable[[str], None]


@dataclass(frozen=True)
class SweepConfig:
    """What to compare, and on which photos.

    Attributes:
        built: folder that `dpsdata build` made.
        report: REPORT folder.
        methods: what `models.methods.registry.find_method` takes: names, or NAME=exec:CMD.
        masks: mask family.
        levels: refinement levels in [0, 1], of the methods that have them.
        outputs: folder of outputs; None for `outputs` beside the report.
        sketches: folder of ID.png; None for the stored sketches.
        split: name of a split, or `all`.
        weights: by method: `bundled`, `official` or a path; what is there for those that are not named.
        batch_size: photos in one pass.
        seed: of noise that a method reads.
        time_limit_s: seconds that a method which is run as a command may take a photo.
        require_methods: end with MissingError where any method has no weights.
        cost: whether the cost of each method is measured on one photo; it stands in run.json and on the page.
        score: how to score; its `out`, `methods`, `masks`, `sketches`, `split` and `levels` are those of the sweep.
    """

    built: Path
    report: Path
    methods: tuple[str, ...]
    masks: str
    levels: tuple[float, ...]
    outputs: Path | None = None
    sketches: Path | None = None
    split: str = "test"
    weights: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 8
    seed: int = 0
    time_limit_s: float = TIME_LIMIT_S
    require_methods: bool = False
    cost: bool = False
    score: ScoreConfig = field(default_factory=ScoreConfig)

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise UsageError(f"methods: expected names, each once, got {', '.join(self.methods) or 'none'}")
        for name in (*self.methods, *self.weights):
            find_method(name)
        names = [find_method(name).name for name in self.methods]
        if len(set(names)) < len(names):
            raise UsageError(f"methods: expected each name once, got {', '.join(names)}")
        unused = [name for name in self.weights if name not in self.makers]
        if unused:
            raise UsageError(f"weights: {unused[0]} is not one of the methods that run here: {', '.join(self.makers)}")
        weightless = [name for name in self.weights if not find_method(name).needs_weights]
        if weightless:
            raise UsageError(f"weights: {weightless[0]} needs none; leave {weightless[0]}=PATH out")

    @property
    def outputs_folder(self) -> Path:
        """Where outputs are written."""
        return self.outputs or self.report.parent / "outputs"

    @property
    def makers(self) -> tuple[str, ...]:
        """The methods that run, in order: those that make what others read come first."""
        wanted = [find_method(name).made_by or name for name in self.methods]
        sources = [source for name in wanted if (source := find_method(name).sketch_from) is not None]
        return tuple(dict.fromkeys([*sources, *wanted]))


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        scores: as `score` gives them, with a row for each missing method.
        missing: methods without weights, and why.
        failures: method, id and reason of each photo that could not be read or was not filled.
    """

    scores: Scores
    missing: dict[str, str]
    failures: tuple[tuple[str, str, str], ...] = ()


def run_sweep(config: SweepConfig, announce: Say | None = None, detail: Say | None = None) -> SweepResult:
    """Make the outputs of every method and score them in one pass.

    Args:
        config: what to compare.
        announce: called with lines that tell how far the work is.
        detail: called with the counts of each method in place of `announce`.

    Returns:
        Scores; the report is written.

    Raises:
        MissingError: no dataset; no method with weights; or one is missing and `require_methods` is set.
        PairingError: findings of the pairing that are not allowed.
        UsageError: an option does not fit, or the folder of outputs holds a run of other settings.
    """
    from dpseval.scoring.score import NOTHING_FILLED, add_methods, score
    from models.prediction.folder import open_predictor

    say = announce or (lambda line: None)
    read_dataset(config.built)
    missing = _find_missing(config)
    if missing and (config.require_methods or len(missing) == len(config.makers)):
        raise MissingError("; ".join(missing.values()))
    failures: list[tuple[str, str, str]] = []
    costs: dict[str, dict[str, Any]] = {}
    for name in config.makers:
        if name in missing:
            continue
        job_config = _job_config(config, name)
        try:
            predictor = open_predictor(job_config)
        except MissingError as error:
            missing[name] = str(error)
            continue
        begun = time.perf_counter()
        counts = _predict(job_config, predictor, say, detail or say)
        if config.cost:
            seconds = (time.perf_counter() - begun) / counts.done_count if counts.done_count else None
            costs[predictor.method.name] = _find_cost(job_config, predictor, seconds)
        failures += [(find_method(name).name, photo, reason) for photo, reason in counts.failures]
        if counts.failures and not counts.done_count + counts.kept_count:
            missing[name] = f"{NOTHING_FILLED}; of {counts.failures[0][0]}: {counts.failures[0][1]}"
    made = tuple(name for name in config.methods if (find_method(name).made_by or name) not in missing)
    absent = {name: missing[find_method(name).made_by or name] for name in config.methods if name not in made}
    absent = {name: reason.removeprefix(f"{name}: ") for name, reason in absent.items()}
    made = tuple(find_method(name).name for name in made)
    for name, reason in absent.items():
        say(f"missing: {find_method(name).name}: {reason}")
    if not made or (absent and config.require_methods):
        raise (FindingsError if failures else MissingError)("; ".join(absent.values()))
    # A photo that one method did not fill is left out for all, so that every table is over the same photos.
    allow = (*config.score.allow, *(("missing",) if failures else ()))
    wanted = replace(
        config.score,
        out=config.report,
        methods=made,
        levels=(),
        masks=config.masks,
        sketches=config.sketches,
        split=config.split,
        allow=allow,
        draw=False,  # `add_methods` draws
    )
    scores = score(config.outputs_folder, config.built, wanted, announce=say)
    notes = {find_method(name).name: _without_places(config, name, reason) for name, reason in absent.items()}
    whole = add_methods(config.report, scores, dict(_about(config, made)), notes, costs)
    return SweepResult(whole, absent, tuple(failures))


def _find_cost(config: PredictConfig, predictor: MethodPredictor, seconds: float | None) -> dict[str, Any]:
    """The cost of a photo; of a foreign method the seconds alone, as the folder took them at all its levels."""
    if predictor.method.is_external:
        return {"seconds": seconds}
    from dpsdata.dataset.torch_dataset import EditDataset
    from models.prediction.cost import measure_cost

    sample = EditDataset(config.built, config.split, config.masks)[0]
    return measure_cost(predictor, sample)


def weights_digests(config: SweepConfig) -> dict[str, dict[str, str] | None]:
    """SHA-256 of the weight files that each method would run with now; None for one without weights."""
    from models.editing.run import hash_weights

    found: dict[str, dict[str, str] | None] = {}
    for name in config.makers:
        method, weights = find_method(name), _weights(config, name)
        try:
            if method.name == "dps":
                found[name] = hash_weights(weights, "edit")
            else:
                found[name] = find_method_weights(method, weights).sha256 if method.needs_weights else {}
        except MissingError:
            found[name] = None
    return found


def _find_missing(config: SweepConfig) -> dict[str, str]:
    missing: dict[str, str] = {}
    for name in config.makers:
        source = find_method(name).sketch_from
        try:
            check_method_weights(find_method(name), _weights(config, name))
        except MissingError as error:
            missing[name] = str(error)
        if source in missing:
            missing.setdefault(name, f"{name} reads the refined sketches of {source}, and {missing[str(source)]}")
    return missing


def _without_places(config: SweepConfig, name: str, reason: str) -> str:
    """A reason without the folders of this machine, as `scores.json` must be the same everywhere."""
    maker = find_method(name).made_by or name
    given = [Path(_weights(config, item)) for item in (maker, find_method(maker).sketch_from) if item is not None]
    for place in filter(Path.is_absolute, (*given, home_folder().absolute())):
        reason = reason.replace(f"{place.parent}/", "")
    return reason


def _weights(config: SweepConfig, name: str) -> str:
    """Those that were named for a method, or for another one that is the same network."""
    method = find_method(name)
    named = [key for key in config.weights if key == name or (method.stem and find_method(key).stem == method.stem)]
    if not named:
        return default_weights(method)
    return typed_weights(config.weights[name if name in named else named[0]])


def _job_config(config: SweepConfig, name: str) -> PredictConfig:
    from models.prediction.settings import PredictConfig

    return PredictConfig(
        config.built,
        config.outputs_folder,
        config.masks,
        config.levels,
        config.sketches,
        config.split,
        _weights(config, name),
        config.batch_size,
        device=config.score.device,
        method=name,
        seed=config.seed,
        time_limit_s=config.time_limit_s,
    )


def _predict(config: PredictConfig, predictor: MethodPredictor, say: Say, detail: Say) -> PredictCounts:
    from models.methods.predictor import name_method
    from models.prediction.folder import FolderPrediction

    job = FolderPrediction(config, predictor)
    say(name_method(predictor))
    counts = job.run()
    method = predictor.method.name
    detail(f"{method}: {counts.done_count} photos predicted, {counts.kept_count} already there")
    for name, reason in counts.failures:
        say(f"failed: {method}: {name}: {reason}")
    return counts


def _about(config: SweepConfig, made: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What `run.json` of the outputs states of each method that is scored."""
    from models.prediction.settings import ABOUT, read_run

    stored = read_run(config.outputs_folder) or {"methods": {}}
    for name in made:
        entry = stored["methods"].get(name)
        about = entry.get(ABOUT) if isinstance(entry, dict) else None
        if isinstance(entry, dict) and isinstance(about, dict):
            yield name, {**about, **{key: value for key, value in entry.items() if key != ABOUT}}
