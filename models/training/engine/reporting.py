"""The files of a run that people read: `card.json`, `stats.jsonl`, sample sheets."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpsdata.contracts import EnvironmentFailure, UsageError
from dpsdata.images.codec import write_photo
from dpsdata.runtime.files import write_text_atomic
from models.training.engine.config import LoopConfig
from models.training.engine.state import Position, describe_config

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
