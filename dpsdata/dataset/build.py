"""`build_dataset`: runs a plan over the samples, resumes, quarantines, and writes the manifest."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dpsdata.contracts import EnvironmentFailure, FindingsError, MissingError, UsageError, hash_ids, level_folder
from dpsdata.dataset.batched import build_in_batches, file_worker
from dpsdata.dataset.config import BuildConfig
from dpsdata.dataset.journal import UNFINISHED, Journal, build_lock, remove_temporaries, state_folder
from dpsdata.dataset.manifest import ManifestRow, read_dataset, write_dataset, write_errors
from dpsdata.dataset.plan import BuildPlan, plan_build
from dpsdata.dataset.plausibility import SeenPhoto, find_implausible
from dpsdata.dataset.shard_build import ShardState, ShardTask, ShardWorker
from dpsdata.dataset.shards import SHARD_FOLDER, escape_id, write_shard_list
from dpsdata.dataset.stages import FolderFiles, SampleRecord, Task, WorkerSetup, manifest_row
from dpsdata.engines import Engine, Job, open_engine
from dpsdata.masks.reading import MASK_ERROR
from dpsdata.runtime.files import ADDRESS, make_folder
from dpsdata.runtime.processes import core_count
from dpsdata.sources.layouts import SourceSample, sample_stamp
from dpsdata.sources.remote import remote_target

MAX_EXAMPLES = 5


@dataclass(frozen=True)
class BuildResult:
    """What a build did.

    Attributes:
        out: the built folder.
        count: samples in the dataset.
        reused_count: samples of which every file was there already.
        errors: (path, reason) of everything in the source that is not in the dataset.
        root_hash: hash of the manifest.
        seconds: wall time.
        warnings: what is odd but was built, as `dataset.json` has it: kind, reason, count, examples.
    """

    out: Path
    count: int
    reused_count: int
    errors: tuple[tuple[str, str], ...]
    root_hash: str
    seconds: float
    warnings: tuple[dict[str, Any], ...] = ()


def worker_count(config: BuildConfig) -> int:
    """Processes to use: as asked for, or one a core."""
    return config.workers or core_count()


def build_dataset(config: BuildConfig) -> BuildResult:
    """Build or finish the dataset of a config.

    Everything is made under a temporary name first and renamed; what an earlier or a killed build
    made is reused where its inputs and options are the same. The same source, options and seed give
    the same bytes for any number of workers.

    Returns:
        Counts, errors and the root hash. Broken photos are in `errors` and do not stop the build.

    Raises:
        MissingError: no photos, or weights are missing.
        UsageError: an option that does not fit, or `out` is not a folder that a build made.
        EnvironmentFailure: disk full, no permission, another build in this folder, a worker died.
        FindingsError: more broken photos than `max_errors`.
    """
    return run_plan(plan_build(config))


def run_plan(plan: BuildPlan) -> BuildResult:
    """Carry out a plan, see `build_dataset`."""
    started = time.perf_counter()
    config, out = plan.config, plan.config.out
    if ADDRESS.match(str(out)):
        with remote_target(out) as folder:
            result = run_plan(replace(plan, config=replace(config, out=folder)))
        return replace(result, out=out)
    with build_lock(out):
        _check_form(config)
        check_same_options(plan)
        remove_temporaries(out)
        with Journal(out) as journal:
            stock = _take_stock(plan, journal)
            errors = len(stock.failed)
            if config.max_errors is not None and errors > config.max_errors:
                raise FindingsError(
                    f"{out}: {errors} photos were broken in an earlier build, more than --max-errors "
                    f"{config.max_errors}; repair them or run it again with --retry-failed"
                )
            (state_folder(out) / UNFINISHED).touch()
            shards = ShardState(out) if config.format == "webdataset" else None
            if shards is None:
                count, done = len(stock.stale), _build_files(plan, stock, journal)
            else:
                count, done = _build_shards(plan, stock, journal, shards)
            total = len(plan.samples) - errors
            reused = total - count
            with tqdm(total=total, initial=reused, desc="samples", unit="sample", disable=None) as bar:
                for record in (record for part in done for record in part):
                    bar.update()
                    before = journal.get(record.id)
                    reused += before is not None and record == replace(before, options_key=record.options_key)
                    if record != before:
                        journal.append(record)
                    errors += bool(record.error)
                    if record.error and config.max_errors is not None and errors > config.max_errors:
                        raise FindingsError(
                            f"{record.source}: {record.error}. This is broken photo number {errors}, more than "
                            f"--max-errors {config.max_errors}; what is built is kept"
                        )
            result = _publish(plan, journal, shards, started, reused)
        (state_folder(out) / UNFINISHED).unlink(missing_ok=True)
        if shards is not None:
            shards.finish()
    return result


@dataclass(frozen=True)
class _Stock:
    """What an earlier build of the folder left to do.

    Attributes:
        stale: samples whose files are missing or not known to be the wanted ones.
        failed: IDs of those whose photo failed before and has not changed; a mask may have been mended.
    """

    stale: tuple[SourceSample, ...]
    failed: frozenset[str]


def _take_stock(plan: BuildPlan, journal: Journal) -> _Stock:
    """Look at every sample without loading a network or starting a worker: most of a repeated build is only this.

    The files of shards are looked at shard by shard, by `ShardState.plan`.
    """
    files = FolderFiles(plan.config.out) if plan.config.format == "files" else None
    stale, failed = [], set()
    for sample in plan.samples:
        record = journal.get(sample.id)
        if record is None or record.stamp != sample_stamp(sample):
            stale.append(sample)
        elif record.error and not plan.config.retry_failed and not record.error.startswith(MASK_ERROR):
            failed.add(sample.id)
        elif not _is_current(plan, record, files):
            stale.append(sample)
    return _Stock(tuple(stale), frozenset(failed))


def _is_current(plan: BuildPlan, record: SampleRecord, files: FolderFiles | None) -> bool:
    if record.options_key != plan.options.key:
        return False
    return all(
        path in record.files
        and (not fact or fact in record.sample_stats)
        and (files is None or files.is_intact(path, *record.files[path]))
        for path, fact in plan.options.wanted(record.id).items()
    )


def _task(journal: Journal, sample: SourceSample) -> Task:
    stamp = sample_stamp(sample)
    record = journal.get(sample.id)
    if record is None or record.stamp != stamp:
        # Another time stamp: the photo is read again, and kept where its content is the same.
        keys, files, stats = (record.keys, record.files, record.sample_stats) if record else ({}, {}, {})
        record = SampleRecord(sample.id, sample.relative_path, stamp, keys=keys, files=files, sample_stats=stats)
    return Task(sample, record)


def _build_files(plan: BuildPlan, stock: _Stock, journal: Journal) -> Iterator[Sequence[SampleRecord]]:
    """Records of samples whose files are in place."""
    _make_folders(plan)
    count = len(stock.stale)
    if not count:
        return
    tasks = (_task(journal, sample) for sample in stock.stale)  # made as workers become free
    batch = plan.options.batch
    if batch > 1 and plan.config.engine == "local":
        for record in build_in_batches(_setup(plan), tasks, min(worker_count(plan.config), count), batch):
            yield (record,)
        return
    # On other machines a task is a batch, so that HED computes as it does here.
    batches = (tuple(islice(tasks, batch)) for _ in range(0, count, batch))
    engine = _open_engine(plan.config, -(-count // batch))
    yield from engine.run(Job(prepare=partial(file_worker, _setup(plan)), gpus=plan.options.gpus), batches)


def _build_shards(
    plan: BuildPlan, stock: _Stock, journal: Journal, state: ShardState
) -> tuple[int, Iterator[Sequence[SampleRecord]]]:
    """How many samples are in shards that have to be looked at or made, and the records of each that is in place."""
    shards = state.plan(plan, {sample.id for sample in stock.stale}, stock.failed)
    names = [[name for name in shard.ids if name not in stock.failed] for shard in shards]
    by_id = {sample.id: sample for sample in plan.samples}

    def filled() -> Iterator[ShardTask]:
        for shard, ids in zip(shards, names, strict=True):
            ids.sort(key=lambda name: escape_id(name) + ".")
            yield replace(shard, tasks=tuple(_task(journal, by_id[name]) for name in ids))

    def run() -> Iterator[Sequence[SampleRecord]]:
        config = plan.config
        if not shards:
            return
        if plan.options.batch > 1 and config.engine == "local" and not config.workers:
            config = replace(config, workers=1)  # one process for the GPU; threads read and decode for it
        engine = _open_engine(config, len(shards))
        job = Job(prepare=partial(ShardWorker, _setup(plan)), tasks_ahead=2, gpus=plan.options.gpus)
        for result in engine.run(job, filled()):
            yield result.records
            state.record(result)  # once its samples are in the journal

    return sum(map(len, names)), run()


def _setup(plan: BuildPlan) -> WorkerSetup:
    config = plan.config
    return WorkerSetup(config.out.absolute(), plan.options, config.edges, config.variant, config.device)


def _open_engine(config: BuildConfig, task_count: int) -> Engine:
    most = max(1, task_count)
    workers = config.workers if config.engine == "ray" and not config.workers else min(worker_count(config), most)
    return open_engine(config.engine, workers, config.address)


def check_same_options(plan: BuildPlan) -> None:
    """Refuse to write over a finished dataset with options that make other files, unless `overwrite` says so.

    Raises:
        UsageError: the dataset in OUT was built with others; says which.
    """
    out = plan.config.out
    if plan.config.overwrite or not (out / "dataset.json").is_file():
        return
    try:
        earlier = read_dataset(out)
    except MissingError:  # damaged: it is rewritten from what is intact
        return
    now = plan.describe()
    differences = [
        f"{name} {_show(earlier['config'][name])}, now {_show(now['config'][name])}"
        for name in ("source", "size", "resampler", "split", "seed")
        if name in earlier["config"] and earlier["config"][name] != now["config"][name]
    ]
    stages = {str(stage.get("name")): stage for stage in earlier["stages"] if isinstance(stage, dict)}
    for stage in now["stages"]:
        if stage["name"] == "edges" and not differences:
            before = stages.get(stage["name"], stage)
            if any(before.get(key) != stage[key] for key in ("version", "precision", "options")):
                differences.append(f"other options or weights of the stage {stage['name']}")
    if differences:
        raise UsageError(
            f"{out}: holds a finished dataset built with {'; '.join(differences)}; its files would be replaced. Choose "
            "another OUT, or pass --overwrite"
        )


def name_left_out(plan: BuildPlan) -> list[str]:
    """Photos, masks and levels of the finished dataset in OUT that are no part of what is built; their files stay."""
    try:
        dataset = read_dataset(plan.config.out)
    except (MissingError, UsageError):  # none there, or an address
        return []
    earlier = dataset["config"]
    fewer = sum(split["count"] for split in dataset["splits"].values()) - len(plan.samples)
    now = plan.describe()["config"]
    gone = {
        name: [str(item) for item in earlier.get(name, ()) if item not in now[name]] for name in ("masks", "levels")
    }
    photos = [f"{fewer:,} photos"] if fewer > 0 else []
    return photos + [f"{name} {', '.join(items)}" for name, items in gone.items() if items]


def _show(value: object) -> str:
    return str(value)[:80] or "none"


def _check_form(config: BuildConfig) -> None:
    """One folder holds one form of a dataset."""
    other, mark = ("webdataset", SHARD_FOLDER) if config.format == "files" else ("files", "images")
    if (config.out / mark).is_dir():
        raise UsageError(
            f"{config.out}: holds a dataset of --format {other}; choose another OUT, or `dpsdata export` it"
        )


def _make_folders(plan: BuildPlan) -> None:
    folders = ["images", "edges", "sketches"]
    folders += [f"masks/{folder}" for folder in plan.options.mask_folders.values()]
    folders += [f"levels/{level_folder(level)}" for level in plan.config.levels]
    for folder in folders:
        make_folder(plan.config.out / folder)


def _publish(plan: BuildPlan, journal: Journal, shards: ShardState | None, started: float, reused: int) -> BuildResult:
    out = plan.config.out
    errors = list(plan.listing.skipped)
    good: set[str] = set()
    seen: list[SeenPhoto] = []
    readings: dict[str, list[str]] = {}

    def rows() -> Iterator[ManifestRow]:
        for sample in plan.samples:
            record = journal.get(sample.id)
            if record is None:
                raise EnvironmentFailure(f"{journal.path}: changed during the build; run the same command again")
            if record.error:
                errors.append((record.source, record.error))
            else:
                good.add(sample.id)
                seen.append(SeenPhoto.of(record))
                _add_readings(readings, record, plan.options.mask_folders)
            yield manifest_row(plan.options, record, plan.splits.split_of(sample.id))

    def describe() -> dict[str, Any]:
        splits = {
            name: {"count": len(kept), "sha256": hash_ids(kept)}
            for name, ids in plan.splits.items()
            for kept in [[sample_id for sample_id in ids if sample_id in good]]
        }
        form = {} if shards is None else _publish_shards(plan, shards)
        return {"size": plan.config.size, "splits": splits, **form, **plan.describe(), "warnings": warnings()}

    @cache
    def warnings() -> list[dict[str, Any]]:
        found = [notice.describe() for notice in [*plan.notices(), *find_implausible(seen, plan.splits)]]
        return found + [
            {"kind": "mask-reading", "reason": reason, "count": len(ids), "examples": ids[:MAX_EXAMPLES]}
            for reason, ids in sorted(readings.items())
        ]

    root = write_dataset(out, rows(), describe)
    write_errors(out, errors)
    seconds = time.perf_counter() - started
    return BuildResult(out, len(good), reused, tuple(errors), root, seconds, tuple(warnings()))


def _add_readings(readings: dict[str, list[str]], record: SampleRecord, folders: Mapping[str, str]) -> None:
    """Note how the mask files of a sample had to be read."""
    for folder in folders.values():
        for note in record.notes.get(f"masks/{folder}/{record.id}.png", ()):
            readings.setdefault(f"{folder}: {note}", []).append(record.id)


def _publish_shards(plan: BuildPlan, shards: ShardState) -> dict[str, Any]:
    rows = sorted((record.row for record in shards.written.values()), key=lambda row: row.shard)
    digest = write_shard_list(plan.config.out, rows)
    about = {"count": len(rows), "size": plan.config.shard_size, "sha256": digest}
    return {"format": plan.config.format, "shards": about}
