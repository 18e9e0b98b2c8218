"""Where a run begins: at its own checkpoint, where another run was, or with the networks of another run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dpsdata.contracts import MissingError, UsageError
from models.training.engine import state as run_state
from models.training.engine.algorithm import Algorithm
from models.training.engine.config import LoopConfig
from models.training.engine.initial_weights import (
    LIGHT_EXTRAS,
    InitialNetworks,
    check_groups,
    find_exported,
    find_light,
    read_light_networks,
    with_average,
)
from models.training.engine.losses import PerceptualName
from models.training.engine.state import Position

_OPTIMISERS = ("optimiser", "discriminator_optimiser", "loss_scale")


@dataclass(frozen=True)
class Beginning:
    """What a run begins with, besides the tensors of its networks.

    Attributes:
        position: stage and step.
        results: of the last validations.
        sums: of the losses since the last line of `stats.jsonl`.
        sum_count: steps in them.
        discriminator: tensors of D and of the averaged network, and the optimisers' states, where they are kept.
        perceptual: the features that it was trained with; None to choose.
        begun_with: what is known of the run whose networks were taken; None where there was none.
    """

    position: Position = field(default_factory=lambda: Position(0, 0))
    results: Mapping[str, float] = field(default_factory=dict)
    sums: Mapping[str, float] = field(default_factory=Counter)
    sum_count: int = 0
    discriminator: Mapping[str, Any] = field(default_factory=dict)
    perceptual: PerceptualName | None = None
    begun_with: dict[str, Any] | None = None


def restore_run(
    out: Path,
    config: LoopConfig,
    root_hash: str,
    algorithm: Algorithm[Any],
    init_from: str | None = None,
) -> Beginning:
    """Load the checkpoint in `out`, or what a run begins with, into the networks of an algorithm.

    Args:
        out: run folder.
        config: of the training.
        root_hash: of the dataset.
        algorithm: its networks are filled.
        init_from: networks of the same sizes, or those for half the side, used where `out` holds no checkpoint: a
            light checkpoint or the run folder that holds it, a folder of exported weights, `bundled` or `official`.

    Raises:
        UsageError: a checkpoint belongs to another config or dataset or to a run that began with first
            weights, two files hold the same network, `out` holds networks without their checkpoint, or this training
            needs networks to begin with.
        MissingError: a checkpoint is damaged, or of other networks.
    """
    path = out / run_state.STATE_FILE
    if path.exists():
        saved = run_state.load_state(path, config, root_hash)
        _fill(algorithm.nets, saved, str(path))
        begun_with = saved.get("begun_with")
        if begun_with is None and init_from is not None:
            if "begun_with" in saved:
                raise UsageError(f"{out}: this run began from scratch; leave --init-from out, or name another OUT")
            begun_with = _read_initial(algorithm, init_from).metadata  # earlier versions did not keep it
        return Beginning(
            Position(*saved["position"]),
            dict(saved["results"]),
            Counter(saved["sums"]),
            int(saved["sum_count"]),
            {key: saved[key] for key in (*LIGHT_EXTRAS, *_OPTIMISERS) if saved.get(key)},
            saved["perceptual"],
            begun_with,
        )
    kept = next((name for name in (run_state.LIGHT_FILE, run_state.WEIGHTS_FOLDER) if (out / name).exists()), None)
    if kept is not None:
        raise UsageError(
            f"{out}: holds {kept} and no {run_state.STATE_FILE}, so this run cannot be resumed; name another --out, "
            f"and pass --init-from {out} to start from its networks"
        )
    if init_from is not None:
        return begin_run(algorithm.nets, algorithm.stage_nets(), _read_initial(algorithm, init_from), algorithm.grow)
    _check_first_weights(config, algorithm)
    return Beginning()


def begin_run(
    nets: Mapping[str, nn.Module],
    stages: Mapping[str, nn.Module],
    given: InitialNetworks,
    grow: Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]],
) -> Beginning:
    """Fill networks with those of another training, growing them where they were for half the side.

    Args:
        nets: by group; filled.
        stages: the network that each stage trains, by the name of the stage.
        given: what to begin with.
        grow: see `Algorithm.grow`.

    Raises:
        MissingError: they are other networks, or a part of them is for half the side.
    """
    check_groups(given, tuple(nets))
    stage = given.card.get("stage")
    if not isinstance(stage, str):
        stage = None
    if stage is None and len(stages) == 1 and given.card and given.card["position"][0] == 0:
        stage = next(iter(stages))  # earlier versions did not name it
    groups = with_average(given, stage)
    tensors = {name: grow(net, groups[name]) for name, net in nets.items()}
    grown = [name for name in nets if tensors[name] is not groups[name]]
    try:
        _fill(nets, tensors, given.source)
    except MissingError as error:
        raise MissingError(f"{error}; a run begins with networks of its own sizes, or for half the side") from None
    if grown and len(grown) < len(nets):
        raise MissingError(f"{given.source}: its {', '.join(grown)} is for half the side of the photo, the rest is not")
    # The average goes on where the one stage is that in which the run was stopped, at the same side.
    goes_on = "average" in groups and stage in stages and len(stages) == 1 and not grown
    discriminator = {key: groups[key] for key in LIGHT_EXTRAS} if goes_on else {}
    return Beginning(
        Position(0, 0, 0), discriminator=discriminator, begun_with={**given.metadata, "grown": bool(grown)}
    )


def _read_initial(algorithm: Algorithm[Any], init_from: str) -> InitialNetworks:
    light = find_light(init_from)
    return algorithm.read_weights(find_exported(init_from)) if light is None else read_light_networks(light)


def _check_first_weights(config: LoopConfig, algorithm: Algorithm[Any]) -> None:
    """Raise UsageError where first weights are no beginning for this training."""
    algorithm.check_beginning()
    stages = algorithm.stage_nets().values()
    for name, net in algorithm.nets.items():
        if not any(stage_net is part for stage_net in stages for part in net.modules()):
            raise UsageError(
                f"{config.name} trains no {name}; pass --init-from RUN of a run that did, or weights that hold it"
            )


def _fill(nets: Mapping[str, nn.Module], tensors: Mapping[str, Mapping[str, Tensor]], source: str) -> None:
    for group, net in nets.items():
        run_state.restore(net, tensors.get(group), source)
