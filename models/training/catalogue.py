"""All trainings: configs as files, and the algorithm of each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import torch

from dpsdata.contracts import MissingError, UsageError
from models.training.baselines.algorithm import BaselineAlgorithm
from models.training.baselines.config import BaselineTrainConfig
from models.training.config_files import find_config
from models.training.editing.algorithm import EditingAlgorithm
from models.training.editing.config import TrainConfig
from models.training.engine.algorithm import Algorithm
from models.training.engine.loop import Trainer

AnyTrainConfig: TypeAlias = TrainConfig | BaselineTrainConfig

_MAX_BYTES = 1 << 20


def read_training(config: str, settings: Sequence[str] = ()) -> AnyTrainConfig:
    """A training from a TOML file: one of the package by its name, or anybody's by its path.

    A file holds the attributes of `TrainConfig`, or with `method = "..."` those of `BaselineTrainConfig`; stages are
    `[[stage]]` tables.

    Args:
        config: name of a config of the package, or path of a `.toml` file.
        settings: changes, each `key=value` with a value in TOML, such as `losses.hole=20` or `stage.0.images=500`.

    Raises:
        UsageError: no such config, a key that it does not have, or a value that makes no sense.
        MissingError: the file cannot be read.
    """
    path = find_config(config)
    if path.stat().st_size > _MAX_BYTES:
        raise UsageError(f"{path}: larger than a training config can be")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MissingError(f"{path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    for setting in settings:
        _change(table, setting)
    table.setdefault("name", path.stem)
    made = _build(BaselineTrainConfig if "method" in table else TrainConfig, table, path.name)
    assert isinstance(made, TrainConfig | BaselineTrainConfig)  # noqa: S101 (for the type checker)
    return made


def make_trainer(config: AnyTrainConfig, data: Path, out: Path, **options: Any) -> Trainer:
    """The trainer of a config; see `Trainer` for the other arguments."""
    return Trainer(config, data, out, make_algorithm=make_algorithm, **options)


def make_algorithm(config: AnyTrainConfig, device: torch.device) -> Algorithm[Any]:
    """The training of a config, with its networks on the device."""
    if isinstance(config, BaselineTrainConfig):
        return BaselineAlgorithm(config, device)
    return EditingAlgorithm(config, device)


def _change(table: dict[str, Any], setting: str) -> None:
    """Change one value of a table in place; `setting` is `a.b=value`."""
    key, sign, text = setting.partition("=")
    names = key.strip().split(".")
    if not sign or not all(names):
        raise UsageError(f"set: expected KEY=VALUE such as learning_rate=1e-4, got {setting!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word
    place: Any = table
    for name in names[:-1]:
        if isinstance(place, list):
            if not name.isdecimal() or int(name) >= len(place):
                raise UsageError(f"set: {key}: expected a number from 0 to {len(place) - 1}, got {name!r}")
            place = place[int(name)]
        else:
            place = place.setdefault(name, {})
        if not isinstance(place, dict | list):
            raise UsageError(f"set: {key}: {name} is a value, not a table")
    if not isinstance(place, dict):
        raise UsageError(f"set: {key}: expected a key after the number of the table")
    place[names[-1]] = value


def _build(kind: type, table: Mapping[str, Any], where: str) -> Any:
    """A dataclass from a table, with every key and type checked."""
    hints = get_type_hints(kind)
    known = [item.name for item in fields(kind)]
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, 1)
            raise UsageError(f"{where}: no key {key!r} here" + (f"; did you mean {near[0]!r}?" if near else ""))
    values = {key: _value(hints[key], value, f"{where}: {key}") for key, value in table.items()}
    try:
        return kind(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    except TypeError as error:
        raise UsageError(f"{where}: {str(error).partition('() ')[2]}") from None


def _value(kind: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        inner = tuple(each for each in inner if each is not NoneType)
        return _value(inner[0], value, where)
    if origin is Literal:
        if value not in inner:
            raise UsageError(f"{where}: expected one of {', '.join(map(str, inner))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{where}: expected a list, got {value!r}")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise UsageError(f"{where}: expected {len(kinds)} values, got {len(value)}")
        return tuple(
            _value(each, item, f"{where}[{at}]") for at, (each, item) in enumerate(zip(kinds, value, strict=True))
        )
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise UsageError(f"{where}: expected a table, got {value!r}")
        return _build(kind, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UsageError(f"{where}: expected {_SPOKEN.get(kind, kind)}, got {value!r}")
    return value


_SPOKEN = {int: "a whole number", float: "a number", str: "a word in quotes", bool: "true or false"}
