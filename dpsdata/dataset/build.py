"""`build_dataset`: runs a plan over the samples, resumes, quarantines, and writes the manifest."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dpsdata.contracts import FindingsError, MissingError, UsageError, hash_ids, level_folder
from dpsdata.dataset.batched import build_in_batches
from dpsdata.dataset.config import BuildConfig
from dpsdata.dataset.journal import (
    UNFINISHED,
    Journal,
    build_lock,
    read_journal,
    remove_temporaries,
    state_folder,
)
from dpsdata.dataset.manifest import read_dataset, write_dataset, write_errors
from dpsdata.dataset.plan import BuildPlan, plan_build
from dpsdata.dataset.plausibility import find_implausible
from dpsdata.dataset.shard_build import ShardState, ShardWorker
from dpsdata.dataset.shards import SHARD_FOLDER, write_shard_list
from dpsdata.dataset.stages import SampleRecord, manifest_row
from dpsdata.dataset.workers import Task, WorkerSetup, file_worker
from dpsdata.engines import Engine, Job, open_engine
from dpsdata.masks.reading import MASK_ERROR
from dpsdata.runtime.files import write_failure
from dpsdata.runtime.processes import core_count
from dpsdata.sources.layouts import sample_stamp

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

    Args:
        config: what to build.

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
    with build_lock(out):
        _check_form(config)
        check_same_options(plan)
        remove_temporaries(out)
        records = read_journal(out)
        tasks = _tasks(plan, records)
        before = {sample.id: records.get(sample.id) for sample in plan.samples}
        reused = 0
        tried = {task.sample.id for task in tasks}
        errors = sum(bool(before_error(before[name])) for name in before if name not in tried)
        if config.max_errors is not None and errors > config.max_errors:
            raise FindingsError(
                f"{out}: {errors} photos were broken in an earlier build, more than --max-errors {config.max_errors}; "
                "repair them or run it again with --retry-failed"
            )
        (state_folder(out) / UNFINISHED).touch()
        shards = ShardState(out) if config.format == "webdataset" else None
        with Journal(out, records) as journal:
            done = _build_files(plan, tasks) if shards is None else _build_shards(plan, tasks, shards)
            with tqdm(total=len(tasks), desc="samples", unit="sample", disable=None) as bar:
                for record in (record for part in done for record in part):
                    bar.update()
                    reused += record == before[record.id]
                    if record != before[record.id]:
                        journal.append(record)
                    records[record.id] = record
                    errors += bool(record.error)
                    if record.error and config.max_errors is not None and errors > config.max_errors:
                        raise FindingsError(
                            f"{record.source}: {record.error}. This is broken photo number {errors}, more than "
                            f"--max-errors {config.max_errors}; what is built is kept"
                        )
        result = _publish(plan, records, shards, started, reused)
        (state_folder(out) / UNFINISHED).unlink(missing_ok=True)
        if shards is not None:
            shards.finish()
    return result


def _build_files(plan: BuildPlan, tasks: list[Task]) -> Iterator[Sequence[SampleRecord]]:
    """Records of samples whose files are in place."""
    _make_folders(plan)
    batch = plan.options.hed.get("batch", 1)
    if batch > 1 and plan.config.engine == "local":
        workers = min(worker_count(plan.config), max(1, len(tasks)))
        for record in build_in_batches(_setup(plan), tasks, workers, batch):
            yield (record,)
        return
    engine = _open_engine(plan.config, len(tasks))
    for record in engine.run(Job(prepare=partial(file_worker, _setup(plan))), tasks):
        yield (record,)


def _build_shards(plan: BuildPlan, tasks: list[Task], state: ShardState) -> Iterator[Sequence[SampleRecord]]:
    """Records of the samples of each shard that is in place."""
    shards = state.plan(plan, tasks)
    config = plan.config
    if plan.options.hed.get("batch", 1) > 1 and config.engine == "local" and not config.workers:
        config = replace(config, workers=1)  # one process for the GPU; threads read and decode for it
    engine = _open_engine(config, len(shards))
    for result in engine.run(Job(prepare=partial(ShardWorker, _setup(plan)), tasks_ahead=2), shards):
        yield result.records
        state.record(result)  # once its samples are in the journal


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
            "another OUT, or say --overwrite"
        )


def _show(value: object) -> str:
    return str(value)[:80] or "none"


def _check_form(config: BuildConfig) -> None:
    """One folder holds one form of a dataset."""
    other, mark = ("webdataset", SHARD_FOLDER) if config.format == "files" else ("files", "images")
    if (config.out / mark).is_dir():
        raise UsageError(
            f"{config.out}: holds a dataset of --format {other}; choose another OUT, or `dpsdata export` it"
        )


def before_error(record: SampleRecord | None) -> str:
    """Reason why a sample failed earlier; empty when it did not."""
    return record.error if record else ""


def _make_folders(plan: BuildPlan) -> None:
    folders = ["images", "edges", "sketches"]
    folders += [f"masks/{folder}" for folder in plan.options.mask_folders.values()]
    folders += [f"levels/{level_folder(level)}" for level in plan.config.levels]
    try:
        for folder in folders:
            (plan.config.out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failure(plan.config.out, error) from error


def _tasks(plan: BuildPlan, records: dict[str, SampleRecord]) -> list[Task]:
    """Every sample, but for those whose photo failed before and has not changed; a mask may have been mended."""
    tasks = []
    for sample in plan.samples:
        stamp = sample_stamp(sample)
        record = records.get(sample.id)
        if record is None or record.stamp != stamp:
            # Another time stamp: the photo is read again, and kept where its content is the same.
            keys, files, facts = (record.keys, record.files, record.facts) if record else ({}, {}, {})
            record = SampleRecord(sample.id, sample.relative_path, stamp, keys=keys, files=files, facts=facts)
        elif record.error and not plan.config.retry_failed and not record.error.startswith(MASK_ERROR):
            continue
        tasks.append(Task(sample, record))
    return tasks


def _publish(
    plan: BuildPlan, records: dict[str, SampleRecord], shards: ShardState | None, started: float, reused: int
) -> BuildResult:
    rows, errors = [], list(plan.listing.skipped)
    for sample in plan.samples:
        record = records[sample.id]
        split = plan.splits.split_of(sample.id)
        rows.append(manifest_row(plan.options, record, split))
        if record.error:
            errors.append((record.source, record.error))
    good = {row.id for row in rows if row.status == "ok"}
    splits = {
        name: {"count": len(kept), "sha256": hash_ids(kept)}
        for name, ids in plan.splits.items()
        for kept in [[sample_id for sample_id in ids if sample_id in good]]
    }
    form = {} if shards is None else _publish_shards(plan, shards)
    used = [records[sample.id] for sample in plan.samples if sample.id in good]
    warnings = [notice.describe() for notice in [*plan.notices(), *find_implausible(used, plan.splits)]]
    warnings += _mask_warnings(used, plan.options.mask_folders)
    description = {"size": plan.config.size, "splits": splits, **form, **plan.describe(), "warnings": warnings}
    root = write_dataset(plan.config.out, rows, description)
    write_errors(plan.config.out, errors)
    seconds = time.perf_counter() - started
    return BuildResult(plan.config.out, len(good), reused, tuple(errors), root, seconds, tuple(warnings))


def _mask_warnings(records: Sequence[SampleRecord], folders: Mapping[str, str]) -> list[dict[str, Any]]:
    """How mask files had to be read, each way with its count and examples."""
    found: dict[str, list[str]] = {}
    for record in records:
        for folder in folders.values():
            for note in record.notes.get(f"masks/{folder}/{record.id}.png", ()):
                found.setdefault(f"{folder}: {note}", []).append(record.id)
    return [
        {"kind": "mask-reading", "reason": reason, "count": len(ids), "examples": ids[:MAX_EXAMPLES]}
        for reason, ids in sorted(found.items())
    ]


def _publish_shards(plan: BuildPlan, shards: ShardState) -> dict[str, Any]:
    rows = sorted((record.row for record in shards.written.values()), key=lambda row: row.shard)
    digest = write_shard_list(plan.config.out, rows)
    about = {"count": len(rows), "size": plan.config.shard_size, "sha256": digest}
    return {"format": plan.config.format, "shards": about}
