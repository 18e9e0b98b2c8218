"""Where the weights of a baseline are: imported official ones, or a file or folder that `dps train` made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dpsdata.contracts import MissingError, UsageError, typed_path
from dpsdata.weights import find_weights, installed, weights_path
from dpsdata.weights.store import read_card, sha256_file
from models.methods.registry import Method
from models.weights.bundled import bundled_baseline_name, has_bundled_baseline
from models.weights.official import peek_card

Origin = Literal[
    "official", "bundled", "retrained", "TensorFlow checkpoint", "no weights", "external command", "installed package"
]
_WEIGHTS_FOLDER = "weights"
_MAX_LETTERS = 300


@dataclass(frozen=True)
class FoundWeights:
    """Weights that are there, not yet read.

    Attributes:
        path: what the loaders take.
        origin: who made them, as far as their place and card tell.
        label: for people: the registered name, or the file's name.
        sha256: of each file.
        licence: their terms; "" where unknown.
        card: what the file says of itself.
    """

    path: Path
    origin: Origin
    label: str
    sha256: dict[str, str]
    licence: str
    card: dict[str, Any]

    @property
    def images_seen(self) -> int | None:
        """Images that the training has seen, where the card says so."""
        return self._number("images_seen", 0)

    @property
    def data_px(self) -> int | None:
        """Side of the training photos in px, where the card says so."""
        return self._number("data_px", 1)

    @property
    def network_px(self) -> int | None:
        """Side in px that training photos were enlarged to, where the card says so."""
        return self._number("network_px", 1)

    @property
    def has_soft_pen(self) -> bool:
        """Whether it was trained on sketches drawn by `smooth_sketch`, and not on one-pixel lines of 0 and 1."""
        return self.card.get("sketch") == "smooth_sketch"

    def _number(self, key: str, least: int) -> int | None:
        value = self.card.get(key)
        return value if type(value) is int and value >= least else None


def find_method_weights(method: Method, weights: str) -> FoundWeights:
    """Find the weights of a baseline; none of its tensors are read.

    Args:
        method: which one.
        weights: `official`, `bundled`, a file, the prefix of a TensorFlow checkpoint, a run of `dps train`, or its
            folder of weights.

    Raises:
        UsageError: a method that has no weights at all.
        MissingError: there are none; the commands that help are named.
    """
    if not method.needs_weights:
        raise UsageError(f"{method.name} needs no weights; leave --weights out")
    if weights == "official":
        return _official(method)
    if weights == "bundled":
        return _bundled(method)
    return _own(method, typed_path(weights))


def check_method_weights(method: Method, weights: str) -> None:
    """Raise MissingError, with the commands that help, where a method has no weights; nothing is loaded."""
    if method.name == "dps":
        from models.editing.loading import find_sources

        for path in find_sources(weights, "edit").values():
            sha256_file(Path(path))
    elif method.needs_weights:
        find_method_weights(method, weights)


def _official(method: Method) -> FoundWeights:
    there = [name for name in method.weight_names if installed(name)]
    if not there:
        raise MissingError(f"{method.name}: no official weights are installed; {method.missing}")
    lacking = [name for name in method.beside if not installed(name)]
    if lacking:
        raise MissingError(f"{method.name}: {there[0]} is installed, but not {' and '.join(lacking)}; {method.missing}")
    cards = {name: read_card(name) or {} for name in (there[0], *method.beside)}
    hashes = {name: str(card.get("sha256", "")) for name, card in cards.items()}
    licence = find_weights(there[0]).licence
    return FoundWeights(weights_path(there[0]), "official", there[0], hashes, licence, cards[there[0]])


def _bundled(method: Method) -> FoundWeights:
    if not has_bundled_baseline(method.stem):
        raise MissingError(f"{method.name}: no weights of {method.title} come with the package; {method.missing}")
    name = bundled_baseline_name(method.stem)
    path = weights_path(name)
    return FoundWeights(path, "bundled", name, {name: sha256_file(path)}, find_weights(name).licence, peek_card(path))


def _own(method: Method, path: Path) -> FoundWeights:
    from models.baselines.tensorflow.bundle import data_paths, find_bundle_prefix, index_path

    name = f"{method.stem}.safetensors"
    if path.is_dir():
        inside = next((place for place in (path / name, path / _WEIGHTS_FOLDER / name) if place.is_file()), None)
        if inside is None and not list(path.glob("*.index")):
            raise MissingError(f"{path}: no {name} in this folder or in its {_WEIGHTS_FOLDER}/; {method.missing}")
        path = inside or path
    prefix = find_bundle_prefix(path)
    if prefix == path and path.is_file():
        card = peek_card(path)
        is_theirs = card.get("layout") == "tensorflow"
        origin: Origin = "TensorFlow checkpoint" if is_theirs else "retrained"
        licence = str(card.get("licence", method.licence if is_theirs else ""))[:_MAX_LETTERS]
        return FoundWeights(path, origin, path.name, {path.name: sha256_file(path)}, licence, card)
    if not index_path(prefix).is_file():
        raise MissingError(f"{path}: there are no weights of {method.name} here; {method.missing}")
    hashes = {item.name: sha256_file(item) for item in (index_path(prefix), *data_paths(prefix)) if item.is_file()}
    return FoundWeights(prefix, "TensorFlow checkpoint", prefix.name, hashes, method.licence, {})
