"""A whole built folder through G and F, into the folder of outputs that scoring reads.

OUT/dps/l0.25/ID.png           the stored photo, F's result in its hole
OUT/dps/l0.25/refined/ID.png   G's refined sketch, black line on white
OUT/dps-g/l0.25/ID.png         the stored photo, G's own photo in its hole
OUT/run.json                   written first: what the pixels depend on, no times; other methods may add theirs
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dpsdata.atomic import write_bytes_atomic, write_failure
from dpsdata.contracts import BrokenImageError, UsageError, level_folder
from dpsdata.dataset import EditDataset, EditSample
from dpsdata.image_io import encode_png, tensor_to_photo
from dpsdata.sketch.thin import thin_lines
from models.edit_request import RUN_FILE, read_input
from models.edit_run import hash_weights
from models.editing_net import EditTensors
from models.loading import load_editor
from models.predict_settings import METHOD, REFINER_METHOD, PredictConfig, describe_run, merge_run
from models.predictor import Editor
from models.user_inputs import find_lines, read_sketch_input

_MOST_WORKERS = 8


class PredictCounts(NamedTuple):
    """What `FolderPrediction.run` did.

    Attributes:
        done_count: photos predicted now.
        kept_count: photos whose outputs were all there.
        failures: id and reason of each photo that could not be read.
    """

    done_count: int
    kept_count: int
    failures: tuple[tuple[str, str], ...]


class FolderPrediction:
    """A run over a built folder; making one reads and checks everything, and writes nothing.

    Args:
        config: what to run.

    Raises:
        UsageError: an option does not fit, the model has another resolution, or OUT holds another run.
        MissingError: no dataset or no weights there; the commands that help are named.

    Attributes:
        ids: of all photos of the run, in the order of the dataset.
        pending: indices into the dataset of those whose outputs are not all there.
    """

    def __init__(self, config: PredictConfig) -> None:
        self.config = config
        self.dataset = EditDataset(config.built, config.split, config.masks)
        weights = hash_weights(config.weights, "edit")
        self.settings = merge_run(config.out, describe_run(config, self.dataset, weights))
        self.editor: Editor = load_editor(config.weights, "edit", config.device, config.precision)
        size = self.editor.resolution
        if size != self.dataset.size:
            raise UsageError(
                f"{config.built}: photos of {self.dataset.size} px, but this model works at {size} px; "
                f"build the dataset again with `dpsdata build SRC OUT --size {size}`"
            )
        self.ids = self.dataset.ids[: config.limit]
        self.pending = [index for index, name in enumerate(self.ids) if not self._is_complete(name)]

    def run(self) -> PredictCounts:
        """Predict what is pending, a batch at a time; a photo that cannot be read is counted and left out.

        Returns:
            What was done.

        Raises:
            EnvironmentFailure: OUT cannot be written to.
        """
        # In this order, since outputs without settings would be refused after a kill in between.
        _make_folders([self.config.out])
        text = json.dumps(self.settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        write_bytes_atomic(self.config.out / RUN_FILE, text.encode())
        _make_folders([self._file(*folder, "").parent for folder in self._folders()])
        failures: list[tuple[str, str]] = []
        workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        bar = tqdm(total=len(self.ids), initial=len(self.ids) - len(self.pending), unit="photo", disable=None)
        with bar, ThreadPoolExecutor(workers) as pool:
            writing: list[Future[None]] = []
            for batch in self._batches(pool):
                samples = [item for item in batch if not isinstance(item, tuple)]
                failures += [item for item in batch if isinstance(item, tuple)]
                written = self._predict(samples, pool) if samples else []
                for future in writing:  # of the batch before, so that at most two are held in memory
                    future.result()
                writing = written
                bar.update(len(batch))
            for future in writing:
                future.result()
        kept_count = len(self.ids) - len(self.pending)
        return PredictCounts(len(self.pending) - len(failures), kept_count, tuple(failures))

    def _batches(self, pool: ThreadPoolExecutor) -> Iterator[list[EditSample | tuple[str, str]]]:
        """The pending samples as they are read, one batch ahead; (id, reason) for one that cannot be."""
        size = self.config.batch_size
        parts = [self.pending[start : start + size] for start in range(0, len(self.pending), size)]
        ahead = [pool.submit(self._read, index) for index in parts[0]] if parts else []
        for position in range(len(parts)):
            now = ahead
            following = parts[position + 1] if position + 1 < len(parts) else []
            ahead = [pool.submit(self._read, index) for index in following]
            yield [future.result() for future in now]

    def _read(self, index: int) -> EditSample | tuple[str, str]:
        name = self.ids[index]
        try:
            sample = self.dataset[index]
            if self.config.sketches is not None:
                source = read_input("sketch", self.config.sketches / f"{name}.png")
                lines = find_lines(read_sketch_input(source.data).pixels)[0]
                sample["sketch"] = torch.from_numpy(thin_lines(lines).astype(np.float32))[None]
        except (BrokenImageError, UsageError) as error:
            return name, str(error)
        size = self.dataset.size
        for part, value in (("photo", sample["photo"]), ("sketch", sample["sketch"]), ("mask", sample["mask"])):
            if tuple(value.shape[1:]) != (size, size):
                return name, f"its {part} has {value.shape[2]} x {value.shape[1]} px, expected {size} x {size}"
        return sample

    def _predict(self, samples: list[EditSample], pool: ThreadPoolExecutor) -> list[Future[None]]:
        photo = torch.stack([sample["photo"] for sample in samples])
        sketch = torch.stack([sample["sketch"] for sample in samples])
        mask = torch.stack([sample["mask"] for sample in samples])
        device = self.editor.device
        on_device = (photo.to(device), sketch.to(device), mask.to(device))
        ground, hole = tensor_to_photo(photo), mask.permute(0, 2, 3, 1).numpy() == 1
        ids = [sample["id"] for sample in samples]
        writing = []
        for level in self.config.levels:
            out = self.editor.forward(*on_device, level)
            for name, pictures in zip(ids, _composite(out, ground, hole), strict=True):
                writing.append(pool.submit(self._write, name, level, pictures))
        return writing

    def _write(self, name: str, level: float, pictures: tuple[NDArray[np.uint8], ...]) -> None:
        for (method, sub), pixels in zip(_PLACES, pictures, strict=True):
            write_bytes_atomic(self._file(method, level, sub, name), encode_png(pixels))

    def _file(self, method: str, level: float, sub: str, name: str) -> Path:
        return self.config.out / method / level_folder(level) / sub / f"{name}.png"

    def _folders(self) -> list[tuple[str, float, str]]:
        return [(method, level, sub) for level in self.config.levels for method, sub in _PLACES]

    def _is_complete(self, name: str) -> bool:
        return all(self._file(*folder, name).is_file() for folder in self._folders())


# Method and folder below the level of the three pictures of a sample.
_PLACES = ((METHOD, ""), (METHOD, "refined"), (REFINER_METHOD, ""))


def _composite(
    out: EditTensors, ground: NDArray[np.uint8], hole: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.uint8], ...]]:
    """The pictures of each sample in the order of `_PLACES`, with known pixels taken from `ground`."""
    painted = np.where(hole, tensor_to_photo(out.inpainter_photo), ground)
    own = np.where(hole, tensor_to_photo(out.refiner_photo), ground)
    yield from zip(painted, _draw(out.refined_sketch), own, strict=True)


def _draw(sketch: Tensor) -> NDArray[np.uint8]:
    grey = torch.round((1 - sketch.detach().to("cpu", torch.float32)) * 255).clamp(0, 255)
    return np.ascontiguousarray(grey.to(torch.uint8)[:, 0].numpy())


def _make_folders(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_failure(folder, error) from error
