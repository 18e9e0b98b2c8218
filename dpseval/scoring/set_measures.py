"""What each set of outputs is as a set: distances, neighbourhoods and separability, in each network's features."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dpseval.metrics.names import SPACES
from dpseval.pairing.files import SetKey
from dpseval.scoring.config import ScoreConfig
from dpseval.scoring.networks import Readers
from dpseval.scoring.one_pass import PassResult
from dpseval.statistics.summary import SetScore

IMPOSTOR_LEAST = 1000  # pairs of people that a false match rate of 1e-3 takes
FID_COUNT = 2048  # images below which the bias of FID shows; also the dimension of its features

Vectors = Mapping[str, NDArray[np.float32]]
# (value, note, standard error over photos)
_Found = tuple[float, str, float]
_FEW = "N < {}: biased upwards, compare at equal N only"


def measure_sets(found: PassResult, readers: Readers, config: ScoreConfig) -> Iterator[SetScore]:
    """FID, KID and their kin of every set, or why they are missing.

    Args:
        found: of the pass.
        readers: the networks, with the vectors that they kept.
        config: the seed and the preprocessing.
    """
    similarities: dict[SetKey, list[float]] = defaultdict(list)
    for row in found.rows:
        if row["region"] == "full":
            similarities[SetKey(str(row["method"]), row["level"])].append(float(row["id_similarity"]))  # type: ignore[arg-type]
    for key, pairs in found.hashes.items():
        if not pairs:
            continue
        for metric, note in readers.missing.items():
            yield SetScore(*key, metric, 0, math.nan, note)
        sides = _stack(pairs, found.scorer_vectors)
        measured = _distances("fd_hed", "kd_hed", *sides)
        for space, reader in readers.spaces.items():
            measured |= _measure_space(SPACES[space], *_stack(pairs, reader.vectors), config)
        if readers.faces is not None:
            measured |= _measure_identity(pairs, similarities[key], readers.faces.truths)
        for metric, (value, note, error) in measured.items():
            yield SetScore(*key, metric, len(pairs), value, note, error=error)


def _measure_space(
    names: Sequence[str], made: NDArray[np.float32], real: NDArray[np.float32], config: ScoreConfig
) -> dict[str, _Found]:
    from dpseval.metrics.frechet import INFINITY_LEAST, frechet_at_infinity
    from dpseval.metrics.kid import cmmd
    from dpseval.metrics.manifolds import FOLDS, NEAREST_DENSITY, SEPARABLE, measure_manifolds, measure_separability

    count = len(made)
    if names == SPACES["clip"]:
        return {names[0]: _few(2) if count < 2 else (cmmd(made, real), "", math.nan)}
    found = _distances(names[0], names[1], made, real)
    if len(names) > 2:
        infinite, precision, recall, density, coverage, p_ids, u_ids = names[2:]
        found[infinite] = _few(INFINITY_LEAST)
        if count >= INFINITY_LEAST:
            value, error = frechet_at_infinity(made, real, config.seed)
            found[infinite] = (value, f"standard error of the line in 1/N: {error:.3g}", math.nan)
        places = (precision, recall, density, coverage)
        if count > NEAREST_DENSITY:
            neighbours = measure_manifolds(made, real)
            found |= {name: (value, "", math.nan) for name, value in zip(places, neighbours, strict=True)}
        else:
            found |= dict.fromkeys(places, _few(NEAREST_DENSITY + 1))
        if count >= 2 * FOLDS:
            for name, value in zip((p_ids, u_ids), measure_separability(made, real), strict=True):
                found[name] = (value, SEPARABLE if value == 0 else f"{FOLDS} folds of photos", math.nan)
        else:
            found |= dict.fromkeys((p_ids, u_ids), _few(2 * FOLDS))
    if names == SPACES["inception"]:
        found = {
            name: (value, _join(f"prep {config.prep}", note), error) for name, (value, note, error) in found.items()
        }
        if count >= 2 and count < FID_COUNT:
            value, note, error = found["fid"]
            found["fid"] = (value, _join(note, _FEW.format(FID_COUNT)), error)
    return found


def _distances(frechet: str, kernel: str, made: NDArray[np.float32], real: NDArray[np.float32]) -> dict[str, _Found]:
    from dpseval.metrics.frechet import frechet_distance
    from dpseval.metrics.kid import kid, kid_with_error

    if len(made) < 2:
        return dict.fromkeys((frechet, kernel), _few(2))
    value, error = kid_with_error(made, real) if len(made) > 2 else (kid(made, real), math.nan)
    note = "" if math.isnan(error) else f"standard error {error:.3g}"
    return {frechet: (frechet_distance(made, real), "", math.nan), kernel: (value, note, error)}


def _measure_identity(
    pairs: Sequence[tuple[str, str]], similarities: Sequence[float], truths: Vectors
) -> dict[str, _Found]:
    """The low end of identity, the share that would be recognised, and what other people of the set look like."""
    from dpseval.metrics.face_networks import measure_identity

    distinct = dict.fromkeys(truth for _, truth in pairs)
    found = measure_identity(similarities, np.stack([truths[truth] for truth in distinct]))
    at = f"threshold {found.threshold:.4f}" if found.threshold == found.threshold else "needs 2 people"
    if 0 < found.pair_count < IMPOSTOR_LEAST:
        at += f": the most alike of only {found.pair_count} pairs of people"
    return {
        "id_p5": (found.low, "", math.nan),
        "id_share": (found.share, at, math.nan),
        "id_impostor": (found.impostor, f"mean of {found.pair_count} pairs; 95th pct. {found.high:.4f}", math.nan),
    }


def _few(least: int) -> _Found:
    return math.nan, f"needs at least {least} photos", math.nan


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _stack(pairs: Sequence[tuple[str, str]], vectors: Vectors) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The vectors of a set and of its truths, (N, D) each."""
    return np.stack([vectors[output] for output, _ in pairs]), np.stack([vectors[truth] for _, truth in pairs])
