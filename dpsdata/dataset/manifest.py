"""The files that describe a built folder: `manifest.csv`, `dataset.json`, `errors.csv`."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpsdata.contracts import IMAGE_SUFFIXES, SCHEMA_VERSION, MissingError, UsageError
from dpsdata.masks import check_family, is_from_files, mask_source_key
from dpsdata.runtime.files import ADDRESS, atomic_path, write_text_atomic

COLUMNS = (
    "id",
    "split",
    "source",
    "source_sha256",
    "width",
    "height",
    "image_sha256",
    "edges_sha256",
    "sketch_sha256",
    "masks_sha256",
    "status",
    "levels_sha256",
)
_KINDS = {"root_hash": str, "size": int, "seed": int, "config": dict, "stages": list, "splits": dict}
LICENCE_NOTE = (
    "Derived from the photos of the source folder: their licence and terms apply to every file here. "
    "CelebA-HQ is for non-commercial research; its images and what is derived from them may not be redistributed."
)


@dataclass(frozen=True)
class ManifestRow:
    """One sample. `masks` and `levels` map folder names to hashes; width and height are those of the source."""

    id: str
    split: str
    source: str
    source_sha256: str
    width: int
    height: int
    image_sha256: str
    edges_sha256: str
    sketch_sha256: str
    masks: Mapping[str, str]
    levels: Mapping[str, str]
    status: str = "ok"

    def files(self) -> dict[str, str]:
        """Relative path and SHA-256 of every file of the sample."""
        if self.status != "ok":
            return {}
        name = f"{self.id}.png"
        return {
            f"images/{name}": self.image_sha256,
            f"edges/{name}": self.edges_sha256,
            f"sketches/{name}": self.sketch_sha256,
            **{f"masks/{family}/{name}": digest for family, digest in self.masks.items()},
            **{f"levels/{level}/{name}": digest for level, digest in self.levels.items()},
        }


def _pack(hashes: Mapping[str, str]) -> str:
    return ";".join(f"{name}={hashes[name]}" for name in sorted(hashes))


def _unpack(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(";") if part)


def manifest_lines(rows: Iterable[ManifestRow]) -> Iterator[bytes]:
    """The lines of `manifest.csv`; their SHA-256 is the root hash of the dataset."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        yield _take_line(buffer)
        digests = (row.image_sha256, row.edges_sha256, row.sketch_sha256)
        size = (row.width, row.height)
        head = (row.id, row.split, row.source, row.source_sha256, *size, *digests)
        writer.writerow((*head, _pack(row.masks), row.status, _pack(row.levels)))
    yield _take_line(buffer)


def _take_line(buffer: io.StringIO) -> bytes:
    line = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return line


def root_hash(rows: Iterable[ManifestRow]) -> str:
    """Root hash of a dataset: the SHA-256 of its manifest, which holds the hash of every file."""
    digest = hashlib.sha256()
    for line in manifest_lines(rows):
        digest.update(line)
    return digest.hexdigest()


def write_errors(out: Path, errors: Iterable[tuple[str, str]]) -> None:
    """Write `errors.csv`: path and reason of everything in the source that is not in the dataset."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("path", "reason"))
    writer.writerows(errors)
    write_text_atomic(out / "errors.csv", buffer.getvalue())


def write_dataset(
    out: Path, rows: Iterable[ManifestRow], description: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
) -> str:
    """Write `manifest.csv` and `dataset.json`; returns the root hash.

    Args:
        out: the built folder.
        rows: taken one at a time.
        description: the rest of `dataset.json`, or what tells it once all rows were taken.
    """
    digest = hashlib.sha256()
    count = 0

    def counted() -> Iterator[ManifestRow]:
        nonlocal count
        for row in rows:
            count += row.status == "ok"
            yield row

    with atomic_path(out / "manifest.csv") as temporary, temporary.open("xb") as stream:
        for line in manifest_lines(counted()):
            digest.update(line)
            stream.write(line)
    told = description() if callable(description) else description
    head = {"schema_version": SCHEMA_VERSION, "root_hash": digest.hexdigest(), "count": count}
    body = {**head, **told, "licence_note": LICENCE_NOTE}
    write_text_atomic(out / "dataset.json", json.dumps(body, indent=2, ensure_ascii=False) + "\n")
    return digest.hexdigest()


def read_dataset(folder: Path) -> dict[str, Any]:
    """`dataset.json` of a built folder.

    Raises:
        MissingError: the folder is no built dataset, or of an unknown schema.
    """
    if ADDRESS.match(str(folder)):
        raise UsageError(
            "this command reads datasets in folders of this machine; `dpsdata build` and `verify`, `dps train` and "
            "`dpseval score` read an address, and `dpsdata export s3://... OUT --to webdataset` copies one"
        )
    path = folder / "dataset.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise _no_dataset(folder, path.name) from None
    except (OSError, ValueError, RecursionError) as error:
        raise MissingError(f"{path}: cannot be read ({error}); run `dpsdata build` again to rewrite it") from error
    if not isinstance(description, dict) or description.get("schema_version") != SCHEMA_VERSION:
        raise MissingError(
            f"{path}: expected schema_version {SCHEMA_VERSION}; build the dataset again with this version"
        )
    config = description.get("config")
    metadata = {**description, "seed": config.get("seed") if isinstance(config, dict) else None}
    damaged = [name for name, kind in _KINDS.items() if not isinstance(metadata.get(name), kind)]
    if damaged:
        raise MissingError(f"{path}: {damaged[0]} is missing or damaged; run `dpsdata build` again to rewrite it")
    return description


def read_manifest(folder: Path) -> list[ManifestRow]:
    """The rows of `manifest.csv`, in the order of the dataset.

    Raises:
        MissingError: the file is missing or has other columns.
    """
    path = folder / "manifest.csv"
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.reader(lines)
            if tuple(next(reader, ())) != COLUMNS:
                raise MissingError(f"{path}: expected the columns {','.join(COLUMNS)}; run `dpsdata build` again")
            return [_row(cells) for cells in reader if cells]
    except FileNotFoundError:
        raise _no_dataset(folder, path.name) from None
    except (OSError, ValueError, csv.Error) as error:
        raise MissingError(f"{path}: cannot be read ({error}); run `dpsdata build` again to rewrite it") from error


def _no_dataset(folder: Path, file: str) -> MissingError:
    if folder.is_dir() and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()):
        return MissingError(
            f"{folder}: holds pictures and is no built dataset (no {file}); run `dpsdata build {folder} BUILT` "
            "and name BUILT instead"
        )
    return MissingError(f"{folder}: no built dataset here (no {file}); run `dpsdata build SRC {folder}`")


def _row(cells: Sequence[str]) -> ManifestRow:
    if len(cells) < len(COLUMNS):
        raise ValueError(f"a line has too few cells: {cells[:3]}")
    name, split, source, digest, width, height, image, edges, sketch, masks, status, levels = cells[: len(COLUMNS)]
    hashes = (image, edges, sketch, _unpack(masks), _unpack(levels))
    return ManifestRow(name, split, source, digest, int(width), int(height), *hashes, status)


def find_stored_masks(description: Mapping[str, Any], family: str) -> tuple[str | None, str]:
    """Where a built dataset keeps the masks of a family.

    Masks that were read from a folder are known by the content of its files, as another folder may have the same name
    and files may have been changed in place since. Where the folder is not on this machine, those that were built from
    it are meant.

    Args:
        description: `dataset.json`.
        family: any, or the name of a folder below `masks/`.

    Returns:
        The name below `masks/`, None where the build did not make these masks; and the hash of the files they are from.

    Raises:
        UsageError: unknown family, or no such folder here and none of this name in the build.
    """
    stages = description.get("stages")
    options = [
        stage.get("options") for stage in stages or () if isinstance(stage, dict) and stage.get("name") == "masks"
    ]
    sources = options[0].get("sources") if options and isinstance(options[0], dict) else None
    stored = {
        str(folder): (source.get("family"), str(source.get("key")))
        for folder, source in (sources if isinstance(sources, dict) else {}).items()
        if isinstance(source, dict)
    }
    if family in stored:
        return family, stored[family][1]
    if not is_from_files(check_family(family)):
        return family, ""
    word, _, place = family.partition(":")
    if not Path(place).is_dir():
        for folder, (name, key) in stored.items():
            if name == family:
                return folder, key
    key = mask_source_key(family)
    found = [folder for folder, (name, known) in stored.items() if known == key and str(name).startswith(f"{word}:")]
    return (found[0] if found else None), key
