"""What a build is going to do: the samples found, their splits, the options resolved, and the costs of a dry run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import BrokenImageError, EnvironmentFailure, level_folder
from dpsdata.dataset.config import BuildConfig
from dpsdata.dataset.stages import SampleBuilder, SampleRecord, StageOptions
from dpsdata.hed import HED, load_hed
from dpsdata.images.codec import read_photo
from dpsdata.images.faces import check_alignment, choose_probes
from dpsdata.masks import check_mask_files
from dpsdata.runtime.device import keyed_generator
from dpsdata.sources.layouts import Notice, SourceListing, SourceSample, find_samples, read_sample
from dpsdata.sources.remote import local_copy, show_place
from dpsdata.sources.splits import Splits, make_splits

PROBE_COUNT = 96
PROBE_SECONDS = 45.0
MIN_PROBES = 8


@dataclass(frozen=True)
class BuildPlan:
    """A resolved build: nothing has been written yet."""

    config: BuildConfig
    listing: SourceListing
    samples: tuple[SourceSample, ...]
    splits: Splits
    options: StageOptions
    hed_description: str

    def notices(self) -> list[Notice]:
        """What a person should look at before any photo is read."""
        found = list(self.listing.notices)
        if self.splits.missing:
            reason = "names of the split list are not in the source"
            found.append(Notice("missing-names", len(self.splits.missing), self.splits.missing[:5], reason))
        if self.listing.lists and self.config.split == "auto" and self.splits.rule != "layout":
            reason = "a list beside the photos may tell their splits and is not read; pass it by --split file:LIST"
            found.append(Notice("unread-lists", len(self.listing.lists), self.listing.lists[:5], reason))
        rule = self.splits.rule.removeprefix("file:")
        return found + [Notice("split-list", 1, (rule,), f"split list: {note}") for note in self.splits.notes]

    def describe(self) -> dict[str, Any]:
        """The part of `dataset.json` that does not depend on which photos were readable."""
        config = self.config
        return {
            "layout": self.listing.layout,
            "config": {
                "source": config.source.name,
                "size": config.size,
                "resampler": config.resampler,
                "split": self.splits.rule,
                "seed": config.seed,
                "edges": config.edges,
                "precision": config.precision,
                "border": config.border,
                "masks": list(config.masks),
                "levels": list(config.levels),
                "limit": config.limit,
            },
            "stages": self.options.describe(),
        }


@dataclass(frozen=True)
class Estimate:
    """What a dry run tells: exact counts, measured bytes and seconds of a few samples made in memory."""

    sample_count: int
    file_count: int
    byte_count: int
    seconds: float
    broken: tuple[tuple[str, str], ...] = field(default=())


def plan_build(config: BuildConfig) -> BuildPlan:
    """Find the samples, load the HED weights and resolve every option.

    Raises:
        MissingError: no photos, or weights are missing.
        UsageError: an option that does not fit.
    """
    listing = find_samples(local_copy(config.source), exclude=config.out)
    # Splits are those of the whole source, so that `limit` moves no photo from one to another.
    splits = make_splits(listing.samples, config.split, config.seed, listing.root)
    samples = listing.samples[: config.limit]
    ids = [sample.id for sample in listing.samples]
    for family in config.masks:
        check_mask_files(family, ids[: config.limit], ids)
    net = load_hed(config.edges, config.variant, precision=config.precision, border=config.border, device=config.device)
    options = StageOptions.resolve(config, net)
    return BuildPlan(config, listing, samples, splits, options, net.origin.description)


def estimate_build(plan: BuildPlan, workers: int) -> Estimate:
    """Make a few samples in memory and scale their bytes and seconds; writes nothing.

    Args:
        plan: from `plan_build`.
        workers: processes that the build would use.
    """
    config = plan.config
    net = load_hed(config.edges, config.variant, precision=config.precision, border=config.border, device=config.device)
    # In an order that covers the whole source however early the time runs out.
    order = keyed_generator(0, "", "dry-run").permutation(len(plan.samples))[:PROBE_COUNT].tolist()
    broken: list[tuple[str, str]] = []
    sizes: list[int] = []
    started = time.perf_counter()
    for number, index in enumerate(order):
        if number >= MIN_PROBES and time.perf_counter() - started > PROBE_SECONDS:
            break
        sample = plan.samples[index]
        try:
            sizes.append(_sample_bytes(plan, net, sample))
        except BrokenImageError as error:
            broken.append((sample.relative_path, str(error)))
    probe_count = len(sizes) + len(broken)
    seconds = time.perf_counter() - started
    good_share = len(sizes) / probe_count
    count = len(plan.samples) if good_share == 1 else round(len(plan.samples) * good_share)
    file_count = 3 + len(config.masks) + len(config.levels)
    return Estimate(
        sample_count=count,
        file_count=count * file_count,
        byte_count=round(sum(sizes) / max(1, len(sizes)) * count),
        seconds=seconds / probe_count * len(plan.samples) / workers,
        broken=tuple(broken),
    )


class _CountedFiles:
    """Takes files and keeps their sizes alone."""

    def __init__(self) -> None:
        self.byte_count = 0

    def is_intact(self, path: str, sha256: str, size: int) -> bool:
        return False

    def source(self, path: str) -> Path:
        raise EnvironmentFailure(f"{path}: a dry run keeps no files")

    def save(self, path: str, data: bytes) -> None:
        self.byte_count += len(data)


def _sample_bytes(plan: BuildPlan, net: HED, sample: SourceSample) -> int:
    files = _CountedFiles()
    builder = SampleBuilder(plan.options, net, files)
    builder.run(SampleRecord(sample.id, sample.relative_path, ""), lambda: read_sample(sample))
    return files.byte_count


def describe_plan(plan: BuildPlan) -> list[str]:
    """What the build will do, in a few lines for people; warns when the photos do not look aligned."""
    config, listing = plan.config, plan.listing
    counts = ", ".join(f"{name} {count:,}" for name, count in plan.splits.counts().items())
    lines = [
        f"source: {show_place(config.source)} ({listing.layout}), {len(listing.samples):,} photos, "
        f"{len(plan.samples):,} to use; {len(listing.skipped):,} passed over{_count_others(listing)}",
        f"splits of the source ({plan.splits.rule}): {counts}",
        f"edges: {plan.hed_description}, {plan.options.hed['precision']}, {plan.options.hed['engine']}",
        f"masks: {', '.join(config.masks) or 'none'}; levels: {', '.join(map(level_folder, config.levels)) or 'none'}; "
        f"size {config.size} px by {config.resampler}",
    ]
    lines += [
        f"warning: {notice.reason} ({notice.count:,} times, such as {', '.join(notice.examples[:2])})"
        for notice in plan.notices()
    ]
    check = check_alignment(_probe_photos(plan))
    if check.checked_count and not check.is_aligned:
        lines.append(
            f"warning: only {check.aligned_count} of {check.checked_count} photos looked at have the face where "
            "CelebA-HQ has it; the networks expect aligned faces"
        )
    return lines


def _count_others(listing: SourceListing) -> str:
    """What else lies in the source, so that nothing vanishes unsaid."""
    if not listing.others:
        return ""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in listing.others.items())
    return f"; {sum(listing.others.values()):,} other files are no photos to use ({kinds})"


def _probe_photos(plan: BuildPlan) -> Iterator[NDArray[np.uint8]]:
    by_id = {sample.id: sample for sample in plan.samples}
    for name in choose_probes(list(by_id)):
        try:
            yield read_photo(read_sample(by_id[name]))
        except BrokenImageError:
            continue
