"""What a run keeps on disk: the whole state to resume it, a light one to carry elsewhere, the weights, and reports.

People read `card.json`, `stats.jsonl` and the sample sheets.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dpsdata.contracts import SCHEMA_VERSION, EnvironmentFailure, MissingError, UsageError
from dpsdata.images.codec import write_photo
from dpsdata.runtime.files import write_bytes_atomic, write_text_atomic
from dpsdata.weights.reading import read_state
from dpsdata.weights.store import write_safetensors
from models.editing.loading import collect_checkpoints
from models.networks.editing_net import EditingNet, Refiner
from models.networks.inpainter import Inpainter
from models.training.engine.config import LoopConfig
from models.weights.checkpoints import write_checkpoint

STATE_FILE = "state.pt"
LIGHT_FILE = "light.safetensors"
BEST_FILE = "best.safetensors"
WEIGHTS_FOLDER = "weights"
_AGAIN = "choose another --out, or delete this folder to start over"


class Position(NamedTuple):
    """How far a run is.

    Attributes:
        stage: index of the stage; the number of stages when the run is done.
        step: steps of this stage that are done.
        optimiser_lost_at: step of this stage at which the optimiser of a trained network began anew, after which the
            rate rises; -1 where it never did.
    """

    stage: int
    step: int
    optimiser_lost_at: int = -1


def describe_config(config: LoopConfig) -> dict[str, Any]:
    """A config as JSON holds it."""
    described = json.loads(json.dumps(asdict(config)))
    return dict(described)


def is_same_config(stored: Any, config: LoopConfig) -> bool:
    """Whether a stored config says the same; a value that earlier versions did not have was its default."""
    return _is_same(stored, config, describe_config(config))


def _is_same(stored: Any, config: Any, own: dict[str, Any]) -> bool:
    if not isinstance(stored, dict) or stored.keys() - own.keys():
        return False
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name not in stored:
            same = item.default == value
        elif is_dataclass(value):
            same = _is_same(stored[item.name], value, own[item.name])
        else:
            same = stored[item.name] == own[item.name]
        if not same:
            return False
    return True


def write_state(path: Path, payload: Mapping[str, Any]) -> None:
    """Write the whole state of a run atomically."""
    buffer = io.BytesIO()
    torch.save(dict(payload), buffer)
    write_bytes_atomic(path, buffer.getvalue())


def load_state(path: Path, config: LoopConfig, root_hash: str) -> dict[str, Any]:
    """Read the state of a run; nothing in it is executed.

    Raises:
        MissingError: the file is damaged.
        UsageError: it belongs to another config or dataset.
    """
    try:
        # On the CPU: `load_state_dict` brings each tensor to where its network is.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise MissingError(
            f"{path}: cannot be read ({error.strerror or error}); nothing is lost, run it again"
        ) from None
    except Exception as error:
        raise MissingError(f"{path}: this checkpoint is damaged ({type(error).__name__}); {_AGAIN}") from None
    if not isinstance(state, dict) or state.get("schema_version") != SCHEMA_VERSION:
        raise MissingError(f"{path}: not a checkpoint of this version; {_AGAIN}")
    state = _rename_earlier(state)
    state |= {key: _rename_earlier(state[key]) for key in ("config", "sums") if isinstance(state.get(key), dict)}
    if not is_same_config(state["config"], config):
        raise UsageError(f"{path}: this run was begun with another config; {_AGAIN}")
    if state["root_hash"] != root_hash:
        raise UsageError(f"{path}: this run was begun with another dataset; {_AGAIN}")
    return state


def write_light(path: Path, groups: Mapping[str, nn.Module], card: Mapping[str, Any]) -> None:
    """Write the tensors of networks, as `GROUP/KEY`, and a card into one safetensors file, atomically."""
    tensors = {f"{group}/{key}": value for group, net in groups.items() for key, value in net.state_dict().items()}
    write_safetensors(path, tensors, {**card, "kind": "dps-light"})


def read_light(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read what `write_light` wrote: tensors by group and key, and the card.

    Raises:
        MissingError: missing, damaged, or another kind of file.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file; expected the {LIGHT_FILE} of a run folder")
    tensors, card = read_state(path)
    if card.get("kind") != "dps-light" or not isinstance(card.get("position"), list):
        raise MissingError(f"{path}: expected a {LIGHT_FILE} that a training wrote")
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        group, _, key = name.partition("/")
        groups.setdefault(group, {})[key] = value
    return _rename_earlier(groups), card


def _rename_earlier(named: Mapping[str, Any]) -> dict[str, Any]:
    """Up to 0.3.0 the discriminator was called critic."""
    return {key.replace("critic", "discriminator"): value for key, value in named.items()}


def count_images(*counts: Any) -> int | None:
    """The sum of images seen in one run after another; None where one of them is unknown."""
    return sum(counts) if all(type(count) is int for count in counts) else None


def restore(net: nn.Module, tensors: Mapping[str, Tensor] | None, source: Path | str) -> None:
    """Load tensors into a network; raise MissingError where they do not fit."""
    given = _shapes(dict(tensors or {}))
    own = _shapes(net.state_dict())
    for key in sorted(given.keys() | own.keys()):
        if given.get(key) != own.get(key):
            raise MissingError(
                f"{source}: it does not fit this preset ({key}: {given.get(key, 'missing')} in the file, "
                f"{own.get(key, 'missing')} in the preset)"
            )
    net.load_state_dict(dict(tensors or {}), strict=True)


def fits(net: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors have the names and shapes of a network's."""
    return _shapes(tensors) == _shapes(net.state_dict())


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(getattr(value, "shape", ())) for key, value in tensors.items()}


def export_weights(folder: Path, refiner: Refiner, inpainter: Inpainter, metadata: Mapping[str, Any]) -> list[Path]:
    """Write G and F for `load_editor(folder)`: a safetensors file for each network, with `metadata` on its card."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for checkpoint in collect_checkpoints(EditingNet(refiner, inpainter), str(folder)):
        paths.append(folder / f"{checkpoint.network}.safetensors")
        write_checkpoint(paths[-1], checkpoint, metadata=metadata)
    return paths


CARD_FILE = "card.json"
STATS_FILE, SHEETS_FOLDER = "stats.jsonl", "samples"


class RunReport:
    """Writes the files of one run; does nothing in any but the first process.

    Args:
        out: run folder; made where it is missing.
        is_writer: whether this is the first process.
        tensorboard: also write event files for TensorBoard, into `OUT/tensorboard`.

    Raises:
        UsageError: TensorBoard was asked for and is not installed.
        EnvironmentFailure: the folder cannot be made.
    """

    def __init__(self, out: Path, is_writer: bool = True, tensorboard: bool = False) -> None:
        self.out, self._is_writer = out, is_writer
        self._events: Any = None
        if tensorboard and find_spec("tensorboard") is None:
            raise UsageError("tensorboard: not installed; run `pip install tensorboard`, or leave --tensorboard out")
        if not is_writer:
            return
        try:
            (out / SHEETS_FOLDER).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFailure(f"{out}: cannot make this folder ({error.strerror}); choose another one") from None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(out / "tensorboard"))

    def write_card(self, config: LoopConfig, differences: list[str], metadata: dict[str, Any]) -> None:
        """Write `card.json`: what is trained, on what, how it differs from the published recipe, and `metadata`."""
        if self._is_writer:
            card = {
                "schema_version": 1,
                "preset": config.name,
                "config": describe_config(config),
                "differences": differences,
                "torch": torch.__version__,
                **metadata,
            }
            write_text_atomic(self.out / CARD_FILE, json.dumps(card, indent=2, sort_keys=True) + "\n")

    def begin_at(self, position: Position) -> None:
        """Drop the lines of `stats.jsonl` that lie behind this position, since they will be written again."""
        path = self.out / STATS_FILE
        if not self._is_writer or not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
                is_done = (row["stage_index"], row["step"]) <= (position.stage, position.step)
            except (ValueError, KeyError, TypeError):
                continue  # the half line of a killed process
            if is_done:
                kept.append(line + "\n")
        write_text_atomic(path, "".join(kept))

    def add_line(self, kind: str, name: str, position: Position, images: int, values: dict[str, float]) -> None:
        """Append one line to `stats.jsonl`.

        Args:
            kind: `train` or `validation`.
            name: of the stage.
            position: of the run.
            images: seen in this stage.
            values: losses, or PSNR in dB.
        """
        if not self._is_writer:
            return
        row = {"kind": kind, "stage": name, "stage_index": position.stage, "step": position.step, "images": images}
        rounded = {key: float(f"{value:.6g}") for key, value in values.items()}
        with (self.out / STATS_FILE).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row | rounded) + "\n")
        if self._events is not None:
            for key, value in rounded.items():
                self._events.add_scalar(f"{name}/{kind}/{key}", value, images)
            self._events.flush()

    def add_sheet(self, name: str, images: int, sheet: NDArray[np.uint8]) -> None:
        """Write a sample sheet, uint8 (H, W, 3), as `samples/NAME-IMAGES.png`."""
        if self._is_writer:
            write_photo(self.out / SHEETS_FOLDER / f"{name}-{images:09d}.png", sheet)
