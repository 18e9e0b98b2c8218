"""`dpsdata export`: a built folder in the forms that others load, each with a dataset card.

webdataset    OUT/shards/train-000000.tar, and all that makes it a built folder, see `dpsdata.dataset.shards`
parquet       OUT/data/train-00000-of-00003.parquet, pictures inside
imagefolder   OUT/train/images/ID.png, sketches/, edges/, masks/FAMILY/, levels/, and OUT/train/metadata.csv

`OUT/README.md` is the card: its YAML head tells `datasets.load_dataset(OUT)` the files, features and splits.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dpsdata.contracts import BrokenImageError, EnvironmentFailure, MissingError, UsageError
from dpsdata.dataset.journal import read_journal, remove_temporaries
from dpsdata.dataset.manifest import LICENCE_NOTE, ManifestRow, read_dataset, read_manifest, write_dataset, write_errors
from dpsdata.dataset.shards import (
    EXPORT_STATE,
    SHARD_FOLDER,
    ShardRow,
    StoredFiles,
    describe_sample,
    escape_id,
    hash_file,
    list_members,
    open_files,
    shard_name,
    split_member,
    write_shard,
    write_shard_list,
)
from dpsdata.dataset.statistics import sample_stats
from dpsdata.runtime.files import (
    atomic_path,
    check_is_local,
    make_folder,
    write_bytes_atomic,
    write_failure,
    write_text_atomic,
)
from dpsdata.sources.remote import local_copy

EXPORTS = ("webdataset", "parquet", "imagefolder")
_ROWS_PER_GROUP = 100
_TEXTS = ("id", "source", "source_sha256")
_NUMBERS = ("width", "height")


@dataclass(frozen=True)
class ExportResult:
    """What was exported. `file_count`: files of the new form, without the card and lists."""

    out: Path
    count: int
    file_count: int


@dataclass(frozen=True)
class _Export:
    built: Path
    out: Path
    description: dict[str, Any]
    rows: list[ManifestRow]
    files: StoredFiles
    shard_size: int

    def content(self, row: ManifestRow) -> dict[str, bytes]:
        """Every file of a sample by its path, each as it was built."""
        found = {}
        for path in row.files():
            try:
                found[path] = self.files.source(path).read_bytes()
            except (OSError, BrokenImageError) as error:
                is_named = path in str(error)
                reason = error if is_named else f"{path} cannot be read ({error}); run `dpsdata verify`"
                raise MissingError(f"{self.built}: {reason}") from None
        return found

    def splits(self) -> dict[str, list[ManifestRow]]:
        """Rows of every split in the order of the dataset, those of broken photos too."""
        found: dict[str, list[ManifestRow]] = {}
        for row in self.rows:
            found.setdefault(row.split, []).append(row)
        return found

    def parts(self) -> Iterator[tuple[str, int, list[ManifestRow]]]:
        """Split, number and rows of every shard."""
        for split, rows in self.splits().items():
            for start in range(0, len(rows), self.shard_size):
                yield split, start // self.shard_size, rows[start : start + self.shard_size]


def export_dataset(built: Path, out: Path, form: str, shard_size: int = 1000) -> ExportResult:
    """Write a built folder in another form; an interrupted export goes on.

    Args:
        built: a folder that `dpsdata build` made, in either form.
        out: a new or empty folder, or one that the same export began.
        form: `webdataset`, `parquet` or `imagefolder`.
        shard_size: samples in a shard or in a parquet file.

    Raises:
        MissingError: no built dataset there, or a file of it is not as it was built.
        UsageError: unknown form, or `out` holds something else.
        EnvironmentFailure: `out` cannot be written, or pyarrow is not installed.
    """
    if form not in EXPORTS:
        raise UsageError(f"to: expected one of {', '.join(EXPORTS)}, got {form!r}")
    if shard_size < 1:
        raise UsageError(f"shard-size: expected at least 1 sample, got {shard_size}")
    check_is_local(out)
    built = local_copy(built)
    description, rows = read_dataset(built), read_manifest(built)
    if not any(row.status == "ok" for row in rows):
        raise MissingError(f"{built}: no samples to export; look at errors.csv")
    export = _Export(built, out, description, rows, open_files(built, description, rows), shard_size)
    _begin(out, {"root_hash": description["root_hash"], "to": form, "shard_size": shard_size})
    write: Callable[[_Export], int] = {
        "webdataset": _write_webdataset, "parquet": _write_parquet, "imagefolder": _write_imagefolder
    }[form]  # fmt: skip
    file_count = write(export)
    write_text_atomic(out / "README.md", _card(export, form))
    return ExportResult(out, sum(row.status == "ok" for row in rows), file_count)


def _begin(out: Path, state: Mapping[str, Any]) -> None:
    """Note what is exported, before anything else is in the folder."""
    path = out / EXPORT_STATE
    text = json.dumps(state) + "\n"
    try:
        if path.is_file():
            if path.read_text(encoding="utf-8") != text:
                raise UsageError(f"{out}: holds another export; choose an empty or a new folder")
        elif out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out}: holds files that no export made; choose an empty or a new folder")
        out.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, text)
        remove_temporaries(out)
    except OSError as error:
        raise write_failure(out, error) from error


def _write_webdataset(export: _Export) -> int:
    make_folder(export.out / SHARD_FOLDER)
    shards = []
    with read_journal(export.built) as records:
        for split, number, rows in tqdm(list(export.parts()), desc="shards", unit="shard", disable=None):
            good = sorted((row for row in rows if row.status == "ok"), key=lambda row: escape_id(row.id) + ".")
            if not good:
                continue
            path = export.out / SHARD_FOLDER / shard_name(split, number)
            if not _is_whole_shard(path, good):
                with write_shard(path) as writer:
                    for row in good:
                        stats = sample_stats(export.files, row, records.get(row.id))
                        writer.add(row.id, export.content(row), describe_sample(row, stats))
            shards.append(ShardRow(path.name, split, len(good), path.stat().st_size, hash_file(path)))
    shards.sort(key=lambda row: row.shard)
    about = {"count": len(shards), "size": export.shard_size, "sha256": write_shard_list(export.out, shards)}
    body: dict[str, Any] = {}
    for name, value in export.description.items():
        if name in ("format", "shards", "schema_version", "root_hash", "count", "licence_note"):
            continue
        body[name] = value
        if name == "splits":
            body |= {"format": "webdataset", "shards": about}
    write_dataset(export.out, export.rows, body)
    write_errors(export.out, _read_errors(export.built))
    return len(shards)


def _is_whole_shard(path: Path, rows: Sequence[ManifestRow]) -> bool:
    """Whether an interrupted export wrote this shard: every file of these samples, and no other."""
    if not path.is_file():
        return False
    wanted = {name: digest for row in rows for name, digest in row.files().items()}
    try:
        found = {split_member(part.name)[1]: part for part in list_members(path)}
        hashes = {
            name: hashlib.sha256(part.read_bytes()).hexdigest() for name, part in found.items() if name is not None
        }
    except (MissingError, OSError):
        return False
    return hashes == wanted


def _read_errors(built: Path) -> list[tuple[str, str]]:
    try:
        with (built / "errors.csv").open(encoding="utf-8", newline="") as lines:
            return [(row["path"], row["reason"]) for row in csv.DictReader(lines)]
    except (OSError, ValueError, KeyError, csv.Error):
        return []


def _columns(rows: Sequence[ManifestRow]) -> dict[str, str]:
    """Folder of the files of every column of pictures."""
    first = next(row for row in rows if row.status == "ok")
    return {
        "image": "images",
        "sketch": "sketches",
        "edges": "edges",
        **{f"mask_{family}": f"masks/{family}" for family in first.masks},
        **{f"level_{level}": f"levels/{level}" for level in first.levels},
    }


def _write_parquet(export: _Export) -> int:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise EnvironmentFailure(
            "pyarrow is not installed; run `pip install 'deep-plastic-surgery[export]'`, or use --to imagefolder"
        ) from None
    make_folder(export.out / "data")
    columns = _columns(export.rows)
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    features = json.dumps({"info": {"features": _features(export, "parquet")}})
    schema = pyarrow.schema(
        [
            *((name, pyarrow.string()) for name in _TEXTS),
            *((name, pyarrow.int32()) for name in _NUMBERS),
            *((name, picture) for name in columns),
        ],
        metadata={"huggingface": features},
    )
    parts = list(_good_parts(export))
    for split, number, count, rows in tqdm(parts, desc="files", unit="file", disable=None):
        path = export.out / "data" / f"{_split_name(split)}-{number:05d}-of-{count:05d}.parquet"
        if path.is_file():
            continue
        with (
            atomic_path(path) as temporary,
            parquet.ParquetWriter(str(temporary), schema, compression="none") as writer,
        ):
            for start in range(0, len(rows), _ROWS_PER_GROUP):
                group = [_table_row(export, row, columns) for row in rows[start : start + _ROWS_PER_GROUP]]
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
    return len(parts)


def _table_row(export: _Export, row: ManifestRow, columns: Mapping[str, str]) -> dict[str, Any]:
    content = export.content(row)
    pictures = {
        name: {"bytes": content[f"{folder}/{row.id}.png"], "path": f"{row.id}.png"} for name, folder in columns.items()
    }
    return {**{name: getattr(row, name) for name in (*_TEXTS, *_NUMBERS)}, **pictures}


def _good_parts(export: _Export) -> Iterator[tuple[str, int, int, list[ManifestRow]]]:
    for split, rows in export.splits().items():
        good = [row for row in rows if row.status == "ok"]
        parts = [good[start : start + export.shard_size] for start in range(0, len(good), export.shard_size)]
        for number, part in enumerate(parts):
            yield split, number, len(parts), part


def _write_imagefolder(export: _Export) -> int:
    columns = _columns(export.rows)
    file_count = 0

    def write(split: str, row: ManifestRow) -> int:
        folder = export.out / _split_name(split)
        if all((folder / path).is_file() for path in row.files()):
            return len(row.files())
        for path, data in export.content(row).items():
            write_bytes_atomic(folder / path, data)
        return len(row.files())

    for split, rows in export.splits().items():
        good = [row for row in rows if row.status == "ok"]
        if not good:
            continue
        for folder in columns.values():
            make_folder(export.out / _split_name(split) / folder)
        with ThreadPoolExecutor(4) as pool:
            done = pool.map(lambda row, split=split: write(split, row), good)
            file_count += sum(tqdm(done, total=len(good), desc=split, unit="sample", disable=None))
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow((*_TEXTS, *_NUMBERS, *(f"{name}_file_name" for name in columns)))
        for row in good:
            cells = [getattr(row, name) for name in (*_TEXTS, *_NUMBERS)]
            writer.writerow((*cells, *(f"{folder}/{row.id}.png" for folder in columns.values())))
        write_text_atomic(export.out / _split_name(split) / "metadata.csv", buffer.getvalue())
    return file_count


def _split_name(split: str) -> str:
    """A split's name as `datasets` allows it."""
    return re.sub(r"\W", "_", split)


def _features(export: _Export, form: str) -> dict[str, dict[str, str]]:
    width = "int32" if form == "parquet" else "int64"
    return {
        **{name: {"dtype": "string", "_type": "Value"} for name in _TEXTS},
        **{name: {"dtype": width, "_type": "Value"} for name in _NUMBERS},
        **{name: {"_type": "Image"} for name in _columns(export.rows)},
    }


def _card(export: _Export, form: str) -> str:
    """The dataset card: a YAML head (JSON is YAML too), and a page for people."""
    counts = {
        split: len(good)
        for split, rows in export.splits().items()
        if (good := [row for row in rows if row.status == "ok"])
    }
    total = sum(counts.values())
    pattern = {"webdataset": "shards/{}-*.tar", "parquet": "data/{}-*.parquet", "imagefolder": "{}/**"}[form]
    quoted = json.dumps
    names = {
        split: shard_name(split, 0).removesuffix("-000000.tar") if form == "webdataset" else _split_name(split)
        for split in counts
    }
    lines = [
        "---",
        "license: other",
        "license_name: that-of-the-source-photos",
        f"pretty_name: {quoted(export.built.resolve().name)}",
        "task_categories: [image-to-image]",
        "tags: [sketch, edge-detection, inpainting, face-editing]",
        f"size_categories: [{_size_category(total)}]",
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for split in counts:
        lines += [f"  - split: {_split_name(split)}", f"    path: {quoted(pattern.format(names[split]))}"]
    if form != "webdataset":
        lines += ["dataset_info:", "  features:"]
        for name, feature in _features(export, form).items():
            kind = "image" if feature["_type"] == "Image" else feature["dtype"]
            lines += [f"  - name: {quoted(name)}", f"    dtype: {kind}"]
        lines += ["  splits:"]
        for split, count in counts.items():
            lines += [f"  - name: {_split_name(split)}", f"    num_examples: {count}"]
    stages = {stage["name"]: stage for stage in export.description["stages"]}
    edges = stages.get("edges", {})
    lines += [
        "---",
        "",
        f"# {export.built.resolve().name}",
        "",
        f"{total:,} photos of {export.description['size']} px with edge maps, thin sketches and masks, built by "
        "`dpsdata build` for sketch-guided editing.",
        "",
        f"* root hash: `{export.description['root_hash']}`",
        f"* splits: {', '.join(f'{split} {count:,}' for split, count in counts.items())}",
        f"* edges: HED {edges.get('weights')}, {edges.get('precision')}, {edges.get('engine')}; 16 bit, 65535 = edge",
        "* sketches: black lines on white, one pixel wide; masks: white is the hole",
        "",
        "## Licence",
        "",
        str(export.description.get("licence_note", LICENCE_NOTE)),
        "",
    ]
    return "\n".join(lines)


def _size_category(count: int) -> str:
    limits = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for limit, name in limits if count < limit), "1M<n<10M")
