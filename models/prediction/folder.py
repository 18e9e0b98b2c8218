"""A whole built folder through a method, into the folder of outputs that scoring reads.

OUT/METHOD/l0.25/ID.png        the stored photo, the method's photo in its hole; none/ for a method without a level
OUT/dps/l0.25/refined/ID.png   G's refined sketch, black line on white
OUT/dps-g/l0.25/ID.png         the stored photo, G's own photo in its hole
OUT/run.json                   written first: what the pixels depend on, no times; every method adds its own part
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dpsdata.contracts import NO_LEVEL, RUN_FILE, BrokenImageError, MissingError, UsageError, level_folder
from dpsdata.dataset.torch_dataset import EditDataset, EditSample
from dpsdata.engines import Job, open_engine
from dpsdata.images.codec import encode_png, read_sketch, tensor_to_photo
from dpsdata.runtime.files import make_folder, write_bytes_atomic
from dpsdata.runtime.processes import core_count
from dpsdata.sketch.reading import read_sketch_file
from dpsdata.sketch.simplify import thin_lines
from models.editing.request import read_input
from models.editing.user_inputs import find_mix_up
from models.methods.predictor import LoadOptions, MethodPredictor, Painting, describe_method, load_method, settings_of
from models.methods.registry import find_method
from models.prediction.settings import PredictConfig, describe_run, merge_run, read_run, written_methods

_REFINED = "refined"
_MAX_WORKERS = 8


class PredictCounts(NamedTuple):
    """What `FolderPrediction.run` did.

    Attributes:
        done_count: photos predicted now.
        kept_count: photos whose outputs were all there.
        failures: id and reason of each photo that could not be read, or that a foreign method did not fill.
    """

    done_count: int
    kept_count: int
    failures: tuple[tuple[str, str], ...]


class _Item(NamedTuple):
    """A sample, and the sketch that the method reads at each level, (1, H, W)."""

    sample: EditSample
    sketches: tuple[Tensor, ...]


def open_predictor(config: PredictConfig) -> MethodPredictor:
    """Load the method of a run.

    Raises:
        UsageError: no such device or precision, or the method is written by another one.
        MissingError: its weights are missing or damaged, or what it reads of another method is not there.
    """
    source = find_method(config.method).sketch_from
    for level in config.chosen_levels if source is not None else ():
        folder = _level_path(config.out, str(source), level) / _REFINED
        if not folder.is_dir():
            raise MissingError(
                f"{config.method} reads the refined sketches of {source}, which are not there ({folder}); run "
                f"`dps predict` with --method {source} and the same options first"
            )
    return load_method(
        config.method, LoadOptions(config.weights, config.device, config.precision, config.seed, config.time_limit_s)
    )


class FolderPrediction:
    """A run over a built folder; making one reads and checks everything, and writes nothing.

    Args:
        config: what to run.
        predictor: the method where it is loaded already; None to load it.

    Raises:
        UsageError: an option does not fit, or OUT holds another run.
        MissingError: no dataset or no weights there; the commands that help are named.

    Attributes:
        predictor: the method.
        ids: of all photos of the run, in the order of the dataset.
    """

    def __init__(self, config: PredictConfig, predictor: MethodPredictor | None = None) -> None:
        self.config = config
        self.dataset = EditDataset(config.built, config.split, config.masks)
        self.predictor = predictor or open_predictor(config)
        settings = {**settings_of(self.predictor), **self._source_settings()}
        about = describe_method(self.predictor)
        self._wanted = describe_run(config, self.dataset, settings, about)
        self.settings = merge_run(config.out, self._wanted)
        self.levels = config.chosen_levels
        method = self.predictor.method
        refined = ((method.name, _REFINED),) if method.refines else ()
        # Method and folder below the level of each picture of a sample, as `_pictures` gives them.
        self._places = ((method.name, ""), *refined, *((other.name, "") for other in written_methods(method)[1:]))
        self.ids = self.dataset.ids[: config.limit]

    @cached_property
    def pending(self) -> list[int]:
        """Indices into the dataset of the photos whose outputs are not all there, as they were when it was asked."""
        return [index for index, name in enumerate(self.ids) if not self._is_complete(name)]

    def run(self) -> PredictCounts:
        """Predict what is pending, a batch at a time; a photo that cannot be read is counted and left out.

        Returns:
            What was done.

        Raises:
            UsageError: OUT holds another run by now.
            EnvironmentFailure: OUT cannot be written to.
        """
        # Again, since another method may have begun in the same folder by now. In this order, since outputs without
        # settings would be refused after a kill in between.
        self.settings = merge_run(self.config.out, self._wanted)
        make_folder(self.config.out)
        text = json.dumps(self.settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        write_bytes_atomic(self.config.out / RUN_FILE, text.encode())
        for folder in self._folders():
            make_folder(self._file(*folder, "").parent)
        failures: list[tuple[str, str]] = []
        kept_count = len(self.ids) - len(self.pending)
        done = self._run_here() if self.config.engine == "local" else self._run_elsewhere()
        with tqdm(total=len(self.ids), initial=kept_count, unit="photo", disable=None) as bar:
            for count, failed in done:
                failures += failed
                bar.update(count)
        return PredictCounts(len(self.pending) - len(failures), kept_count, tuple(failures))

    def _run_here(self) -> Iterator[tuple[int, list[tuple[str, str]]]]:
        """The number of photos of each batch, and those that failed."""
        with ThreadPoolExecutor(min(_MAX_WORKERS, core_count())) as pool:
            writing: list[Future[None]] = []
            for batch in self._batches(pool):
                items = [item for item in batch if isinstance(item, _Item)]
                written, unfilled = self._predict(items, pool) if items else ([], {})
                for future in writing:  # of the batch before, so that at most two are held in memory
                    future.result()
                writing = written
                yield len(batch), [*(item for item in batch if not isinstance(item, _Item)), *unfilled.items()]
            for future in writing:
                future.result()

    def _run_elsewhere(self) -> Iterator[tuple[int, list[tuple[str, str]]]]:
        """As `_run_here`, by the workers of an engine, each with a network of its own."""
        engine = open_engine(self.config.engine, self.config.workers, self.config.address)
        return engine.run(Job(prepare=partial(_open_worker, self.config), tasks_ahead=2), self._parts())

    def _run_part(self, part: list[int]) -> tuple[int, list[tuple[str, str]]]:
        """Predict one batch; what a worker does."""
        with ThreadPoolExecutor(2) as pool:
            batch = list(pool.map(self._read, part))
            items = [item for item in batch if isinstance(item, _Item)]
            writing, unfilled = self._predict(items, pool) if items else ([], {})
            for future in writing:
                future.result()
        return len(batch), [*(item for item in batch if not isinstance(item, _Item)), *unfilled.items()]

    def _source_settings(self) -> dict[str, Any]:
        """The weights of the method whose refined sketches this one reads."""
        source = self.predictor.method.sketch_from
        if source is None:
            return {}
        stored = (read_run(self.config.out) or {"methods": {}})["methods"].get(source)
        return {"refined_by": stored.get("weights") if isinstance(stored, dict) else None}

    def _batches(self, pool: ThreadPoolExecutor) -> Iterator[list[_Item | tuple[str, str]]]:
        """The pending samples as they are read, one batch ahead; (id, reason) for one that cannot be."""
        parts = self._parts()
        ahead = [pool.submit(self._read, index) for index in parts[0]] if parts else []
        for position in range(len(parts)):
            now = ahead
            following = parts[position + 1] if position + 1 < len(parts) else []
            ahead = [pool.submit(self._read, index) for index in following]
            yield [future.result() for future in now]

    def _parts(self) -> list[list[int]]:
        size = getattr(self.predictor, "photos_per_call", None) or self.config.batch_size
        return [self.pending[start : start + size] for start in range(0, len(self.pending), size)]

    def _read(self, index: int) -> _Item | tuple[str, str]:
        name = self.ids[index]
        source = self.predictor.method.sketch_from
        try:
            sample = self.dataset[index]
            if self.config.sketches is not None:
                sample["sketch"] = _read_drawn(self.config.sketches / f"{name}.png", sample["mask"])
            if source is None:
                sketches = (sample["sketch"],) * len(self.levels)
            else:
                sketches = tuple(_read_refined(self._file(source, level, _REFINED, name)) for level in self.levels)
        except (BrokenImageError, UsageError) as error:
            return name, str(error)
        size = self.dataset.size
        parts = [("photo", sample["photo"]), ("mask", sample["mask"])]
        for part, value in (*parts, *(("sketch", sketch) for sketch in sketches)):
            if tuple(value.shape[1:]) != (size, size):
                return name, f"its {part} has {value.shape[2]} x {value.shape[1]} px, expected {size} x {size}"
        return _Item(sample, sketches)

    def _predict(self, items: list[_Item], pool: ThreadPoolExecutor) -> tuple[list[Future[None]], dict[str, str]]:
        photo = torch.stack([item.sample["photo"] for item in items])
        mask = torch.stack([item.sample["mask"] for item in items])
        device = self.predictor.device
        known, holes = photo.to(device), mask.to(device)
        ground, hole = tensor_to_photo(photo), mask.permute(0, 2, 3, 1).numpy() == 1
        ids = [item.sample["id"] for item in items]
        writing, failed = [], {}
        for position, level in enumerate(self.levels):
            sketch = torch.stack([item.sketches[position] for item in items]).to(device)
            out = self.predictor.predict(known, sketch, holes, ids, level)
            failed.update({name: reason for name, reason in out.failed.items() if name not in failed})
            for name, pictures in zip(ids, _pictures(out, ground, hole), strict=True):
                if name not in out.failed:
                    writing.append(pool.submit(self._write, name, level, pictures))
        return writing, failed

    def _write(self, name: str, level: float | None, pictures: tuple[NDArray[np.uint8], ...]) -> None:
        for (method, sub), pixels in zip(self._places, pictures, strict=True):
            write_bytes_atomic(self._file(method, level, sub, name), encode_png(pixels))

    def _file(self, method: str, level: float | None, sub: str, name: str) -> Path:
        return _level_path(self.config.out, method, level) / sub / f"{name}.png"

    def _folders(self) -> list[tuple[str, float | None, str]]:
        return [(method, level, sub) for level in self.levels for method, sub in self._places]

    def _is_complete(self, name: str) -> bool:
        return all(self._file(*folder, name).is_file() for folder in self._folders())


def _open_worker(config: PredictConfig) -> Callable[[list[int]], tuple[int, list[tuple[str, str]]]]:
    """A run of its own for a worker, over the same folder."""
    return FolderPrediction(config)._run_part


def _level_path(out: Path, method: str, level: float | None) -> Path:
    return out / method / (NO_LEVEL if level is None else level_folder(level))


def _read_drawn(path: Path, mask: Tensor) -> Tensor:
    """Drawn strokes of any width and colour as one-pixel lines, (1, H, W); UsageError where the mask is meant."""
    lines = read_sketch_file(read_input("sketch", path).data).pixels < 128
    fault = find_mix_up(mask[0].numpy() == 1, lines) if lines.shape == mask.shape[1:] else ""
    if fault:
        raise UsageError(f"{fault}; give filled shapes to --masks and drawings to --sketches")
    return _thin(lines.astype(np.uint8))


def _read_refined(path: Path) -> Tensor:
    """A refined sketch, which is soft, as one-pixel lines where it is over one half, (1, H, W)."""
    return _thin(read_sketch(path))


def _thin(lines: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(thin_lines(lines).astype(np.float32))[None]


def _pictures(
    out: Painting, ground: NDArray[np.uint8], hole: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.uint8], ...]]:
    """The pictures of each sample: photo, refined sketch, the refiner's photo; known pixels are those of `ground`."""
    found = [np.where(hole, tensor_to_photo(out.photo), ground)]
    if out.refined_sketch is not None:
        found.append(_draw(out.refined_sketch))
    if out.refiner_photo is not None:
        found.append(np.where(hole, tensor_to_photo(out.refiner_photo), ground))
    yield from zip(*found, strict=True)


def _draw(sketch: Tensor) -> NDArray[np.uint8]:
    grey = torch.round((1 - sketch.detach().to("cpu", torch.float32)) * 255).clamp(0, 255)
    return np.ascontiguousarray(grey.to(torch.uint8)[:, 0].numpy())
