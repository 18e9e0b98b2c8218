"""Takes in a weight file that a person has: recognised by content, checked, converted, written to the cache."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dpsdata.contracts import MissingError, UsageError
from dpsdata.runtime.files import TEMPORARY_PREFIX
from dpsdata.weights.archive import FILE_COUNT_LIMIT, NEVER_WEIGHTS, unpack_gzip, unpack_weights
from dpsdata.weights.reading import UnrecognisedError, sniff
from dpsdata.weights.registry import WeightFile, find_weights, list_weights
from dpsdata.weights.store import install, make_folder, read_card, sha256_file, tensors_path

if TYPE_CHECKING:
    from torch import Tensor


class Imported(NamedTuple):
    """What an importer makes of a file: the registered name, the tensors under our keys, metadata for the card.

    `also` has other registered names that the same tensors may go by, where names and shapes cannot tell.
    """

    name: str
    tensors: Mapping[str, Tensor]
    card: Mapping[str, Any]
    also: tuple[str, ...] = ()


Importer = Callable[[Path], Imported | None]


@dataclass(frozen=True)
class InstalledWeights:
    """One file that was taken in; `verified` where the source has the published SHA-256."""

    name: str
    path: Path
    source: str
    verified: bool


@dataclass(frozen=True)
class ImportReport:
    """What came of an import: the files that are installed now, and what was passed over, with the reason."""

    installed: tuple[InstalledWeights, ...]
    skipped: tuple[tuple[str, str], ...]


_IMPORTERS: list[Importer] = []
# What lies beside the index of a TensorFlow checkpoint.
_CHECKPOINT_PART = re.compile(r"(.+)\.(?:data-\d{5}-of-\d{5}|meta)")


def register_importer(importer: Importer) -> Importer:
    """Add a room's importer; it gets a path and returns None for a file of another kind.

    It may raise MissingError for a file that is damaged: the other importers are still asked.
    """
    if importer not in _IMPORTERS:
        _IMPORTERS.append(importer)
    return importer


def import_file(path: Path, source: str | None = None, name: str | None = None) -> InstalledWeights:
    """Recognise one weight file, check it, and install it as safetensors with a card.

    Args:
        path: the file; it is left as it is.
        source: what to call it in the card; its file name by default.
        name: which registered name it is meant to be, where its content fits several.

    Raises:
        MissingError: no importer knows it, or it is damaged.
    """
    # By name, not as an import: what is known lies above this room, which only holds the list.
    import_module("dpsdata.weights.known")
    found, failure = _ask_importers(path)
    if found is None:
        raise failure or UnrecognisedError(
            f"{path}: not a known weight file ({_describe(path)}); `dps weights list` names those that are"
        )
    if name not in (None, found.name, *found.also):
        raise MissingError(
            f"{path}: by its content {found.name}, not {name}; leave --name out to import it under that name"
        )
    sha256 = sha256_file(path)
    file = next((known for known in list_weights() if known.sha256 == sha256), None) or find_weights(name or found.name)
    verified = file.sha256 == sha256
    source = source or path.name
    _refuse_flipped(path, file, sha256)
    _refuse_downgrade(path, file.name, sha256, verified)
    card = {
        **found.card,
        "schema_version": 1,
        "source_file": source,
        "source_size": path.stat().st_size,
        "source_sha256": sha256,
        "published_sha256": file.sha256,
        "verified": verified,
        "licence": file.licence,
        "page": file.page,
    }
    install(file.name, found.tensors, card)
    return InstalledWeights(file.name, tensors_path(file.name), source, verified)


def _refuse_flipped(path: Path, file: WeightFile, sha256: str) -> None:
    """Refuse a file that has the published size and not the published hash: that is damage, not another training."""
    if file.sha256 not in (None, sha256) and file.size == path.stat().st_size:
        raise MissingError(
            f"{path}: SHA-256 {sha256}, but {file.filename} has {file.sha256}; the file is damaged, "
            f"get it again from {file.page}, then run `dps weights import FILE`"
        )


def _refuse_downgrade(path: Path, name: str, sha256: str, verified: bool) -> None:
    card = read_card(name)
    if card is not None and card.get("verified") and not verified:
        raise MissingError(
            f"{path}: SHA-256 {sha256} is not the published {card.get('published_sha256')}, and the published {name} "
            f"is installed; delete {tensors_path(name)} first, or pass the path of your file instead of a name"
        )


def _ask_importers(path: Path) -> tuple[Imported | None, MissingError | None]:
    failure: MissingError | None = None
    for importer in _IMPORTERS:
        try:
            found = importer(path)
        except MissingError as error:
            failure = failure or error
            continue
        if found is not None:
            return Imported(*found), None
    return None, failure


def _describe(path: Path) -> str:
    kind = sniff(path)
    if kind in ("torch", "safetensors"):
        from dpsdata.weights.reading import read_state

        keys = list(read_state(path, kind)[0])
        return f"a {kind} file with {len(keys)} entries such as {', '.join(map(str, keys[:3])) or 'none'}"
    return f"{path.stat().st_size:,} bytes, {kind if kind != 'other' else 'of an unknown kind'}"


def _index_beside(path: Path) -> Path | None:
    """The index that stands for a TensorFlow checkpoint, where `path` is its prefix or another file of it."""
    match = _CHECKPOINT_PART.fullmatch(path.name)
    index = path.with_name(f"{match[1] if match else path.name}.index")
    return index if (match or not path.exists()) and index.is_file() else None


def import_path(path: Path, name: str | None = None) -> ImportReport:
    """Take in a weight file, or every one that a folder, zip or tar holds.

    Args:
        path: the file, folder or archive; for a TensorFlow checkpoint its prefix will do.
        name: which registered name it is meant to be, where its content fits several.

    Raises:
        MissingError: nothing in it was recognised; says what was seen.
        UsageError: a folder with far too many files.
    """
    if path.is_dir():
        return _import_folder(path, path, [], name)
    path = _index_beside(path) or path
    kind = sniff(path)
    if kind not in ("zip", "tar", "gzip"):
        return ImportReport((import_file(path, name=name),), ())
    with tempfile.TemporaryDirectory(dir=make_folder("downloads"), prefix=TEMPORARY_PREFIX) as made:
        whole = path
        if kind == "gzip":
            whole = Path(made) / "unpacked"
            unpack_gzip(path, whole)
            kind = sniff(whole)
            if kind != "tar":
                raise MissingError(f"{path}: a gzip file without an archive in it; unpack it, then run it again")
        # A folder of the archive's name, since importers may tell from names what the tensors do not.
        folder = Path(made) / (path.stem.strip(". ") or "archive")
        folder.mkdir()
        skipped = unpack_weights(whole, kind, folder)
        return _import_folder(folder, path, skipped, name)


def _import_folder(folder: Path, shown: Path, skipped: list[tuple[str, str]], name: str | None) -> ImportReport:
    """Import every known file in a folder; where two give the same weights, the verified one or else the last."""
    installed: dict[str, InstalledWeights] = {}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() not in NEVER_WEIGHTS)
    if len(files) > FILE_COUNT_LIMIT:
        raise UsageError(f"{shown}: {len(files)} files; name the weight file, or a folder with only such files")
    for path in files:
        if _index_beside(path) is not None:
            continue
        label = path.relative_to(folder).as_posix()
        try:
            done = import_file(path, f"{shown.name}/{label}", name)
        except MissingError as error:
            skipped.append((label, str(error).removeprefix(f"{path}: ")))
            continue
        installed[done.name] = done
    if not installed:
        seen = "; ".join(f"{label}: {reason}" for label, reason in skipped[:5]) or "no file that could be weights"
        raise MissingError(f"{shown}: nothing in it was recognised ({seen}); `dps weights list` names what is known")
    return ImportReport(tuple(installed.values()), tuple(skipped))
