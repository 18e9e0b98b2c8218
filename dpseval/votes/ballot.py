"""The ballot: one offline page of blind pairs, and the key that says which method painted which picture."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dpsdata.contracts import EnvironmentFailure, MissingError, UsageError
from dpsdata.images.arrays import resize_photo
from dpsdata.images.codec import encode_jpeg
from dpsdata.runtime.device import keyed_generator
from dpsdata.runtime.files import write_text_atomic
from dpseval.pairing.files import PhotoFiles, SetKey
from dpseval.pairing.pairs import Pairing, pair_outputs
from dpseval.report.sections import hash_results
from dpseval.report.stored import read_report
from dpseval.scoring.pixel_workers import PhotoMeasures, measure_photo

KEY_FILE, PAGE_FILE = "key.json", "index.html"
SCHEMA = "dps-vote-1"
_MAX_SIDE_PX, _QUALITY, _GREY = 512, 92, 160
_MAX_PAGE_BYTES = 60_000_000


@dataclass(frozen=True, kw_only=True)
class BallotConfig:
    """What is voted on.

    Attributes:
        pairs: how many pairs each voter sees.
        methods: only these; empty for all of the report.
        levels: only these, besides methods without a level; empty for all.
        seed: of photos, pairs and places.
    """

    pairs: int = 40
    methods: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.pairs <= 1000:
            raise UsageError(f"pairs: expected 1 to 1,000, got {self.pairs}")


@dataclass(frozen=True)
class Ballot:
    """What `make_ballot` wrote.

    Attributes:
        page: to send to voters.
        key: to keep from them.
        pair_count: pairs in it.
        photo_count: distinct photos.
        sets: that are compared.
    """

    page: Path
    key: Path
    pair_count: int
    photo_count: int
    sets: tuple[SetKey, ...]


def make_ballot(report: Path, out: Path, config: BallotConfig) -> Ballot:
    """Write OUT/index.html, one page that works offline, and OUT/key.json.

    Every two sets meet about equally often, on photos that are drawn by the seed; pairs of equal pictures are left
    out. The page draws order and sides anew for each voter, and does not know the methods.

    Args:
        report: folder that `dpseval score` wrote; its outputs and dataset must still be where they were.
        out: folder to write; refused where it holds another ballot, since votes belong to one.
        config: what is voted on.

    Raises:
        MissingError: the report, its outputs or its dataset are missing.
        UsageError: fewer than two sets or no photo that differs, or OUT holds another ballot.
        EnvironmentFailure: OUT cannot be written to.
    """
    stored = read_report(report)
    pairing = _pair_again(stored.run, config)
    photos = {photo.id: photo for photo in pairing.photos if len(photo.outputs) == len(pairing.keys)}
    scored = set(stored.per_image["id"])
    ids = [name for name in photos if name in scored]
    if len(pairing.keys) < 2 or not ids:
        raise UsageError(
            f"{report}: expected two sets with the same photos at least, got {len(pairing.keys)} sets and {len(ids)} "
            "photos that all of them have"
        )
    pairs = list(_draw_pairs([photos[name] for name in ids], pairing.keys, config))
    if not pairs:
        raise UsageError(f"{report}: all sets painted the same pictures, so there is nothing to vote on")
    key = {
        "schema": SCHEMA,
        "report": str(report.resolve()),
        "results_sha256": hash_results(report),
        **asdict(config),
        "sets": [{"method": item.method, "level": item.level} for item in pairing.keys],
        "pairs": [{"id": pair.photo, "a": pair.sides[0], "b": pair.sides[1]} for pair in pairs],
        "pictures_sha256": [_digest(pair.pictures) for pair in pairs],
    }
    text = json.dumps(key, indent=1, sort_keys=True) + "\n"
    path = out / KEY_FILE
    if path.exists() and path.read_bytes() != text.encode():
        raise UsageError(f"{out}: it holds another ballot, and votes belong to one; choose another -o DIR")
    if (out / PAGE_FILE).exists() and not path.exists():
        raise UsageError(f"{out}: its {PAGE_FILE} is not of a ballot and would be lost; choose another -o DIR")
    page = _render(pairs, hashlib.sha256(text.encode()).hexdigest())
    if len(page) > _MAX_PAGE_BYTES:
        raise UsageError(
            f"pairs: {len(pairs)} pairs make a page of {len(page) / 1e6:.0f} MB; ask for fewer with --pairs"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailure(f"{out}: cannot be written to ({error.strerror})") from None
    write_text_atomic(path, text)
    write_text_atomic(out / PAGE_FILE, page)
    return Ballot(out / PAGE_FILE, path, len(pairs), len({pair.photo for pair in pairs}), pairing.keys)


@dataclass(frozen=True, eq=False)
class _Pair:
    photo: str
    sides: tuple[int, int]  # indices of the two sets
    pictures: tuple[bytes, bytes, bytes]  # JPEGs: what was given, a, b


def _pair_again(run: dict[str, Any], config: BallotConfig) -> Pairing:
    sketches = run.get("sketches")
    try:
        outputs, dataset = Path(run["outputs"]), Path(run["dataset"])
        return pair_outputs(
            outputs,
            dataset,
            methods=config.methods,
            levels=config.levels,
            split=run["split"],
            masks=run["masks"],
            sketches=None if sketches is None else Path(sketches),
        )
    except KeyError as error:
        raise MissingError(f"run.json of the report has no {error}; run dpseval score again") from None


def _draw_pairs(photos: Sequence[PhotoFiles], keys: Sequence[SetKey], config: BallotConfig) -> Iterator[_Pair]:
    """Pairs of sets in turn, photos in turn, both in an order that the seed draws."""
    draws = keyed_generator(config.seed, "", "ballot")
    matches = list(itertools.combinations(range(len(keys)), 2))
    turns: list[tuple[int, int]] = []
    while len(turns) < config.pairs:
        turns += [matches[index] for index in draws.permutation(len(matches))]
    order = [photos[index] for index in draws.permutation(len(photos))]
    flips = draws.integers(0, 2, config.pairs)
    measured: dict[str, PhotoMeasures] = {}
    used: set[tuple[str, tuple[int, int]]] = set()
    for number, match in enumerate(tqdm(turns[: config.pairs], disable=None, desc="pairs", leave=False)):
        for offset in range(len(order)):
            files = order[(number + offset) % len(order)]
            if (files.id, match) in used:
                continue
            used.add((files.id, match))
            if files.id not in measured:
                measured[files.id] = measure_photo(files)
            photo = measured[files.id]
            if photo.findings:
                raise MissingError(f"{photo.findings[0]}; run dpseval score again")
            names = [photo.outputs[keys[index]].composite_sha256 for index in match]
            if names[0] == names[1]:
                continue
            sides = (match[1], match[0]) if flips[number] else match
            pictures = [photo.composites[photo.outputs[keys[index]].composite_sha256] for index in sides]
            yield _Pair(files.id, sides, (_encode(_given(photo)), _encode(pictures[0]), _encode(pictures[1])))
            break


def _given(photo: PhotoMeasures) -> NDArray[np.uint8]:
    """What the methods were given: the photo, its hole in grey, the drawn lines in it."""
    given = photo.truth.copy()
    given[photo.mask == 1] = _GREY
    if photo.sketch is not None:
        given[(photo.mask == 1) & (photo.sketch == 1)] = 0
    return given


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    return encode_jpeg(resize_photo(pixels, _MAX_SIDE_PX) if max(pixels.shape[:2]) > _MAX_SIDE_PX else pixels, _QUALITY)


def _digest(pictures: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join(pictures)).hexdigest()


def _render(pairs: Sequence[_Pair], study: str) -> str:
    def read(name: str) -> str:
        return resources.files("dpseval.votes").joinpath(name).read_text(encoding="utf-8")

    script = read("page.js")
    rows = [[base64.b64encode(picture).decode() for picture in pair.pictures] for pair in pairs]
    filled = {
        "SCRIPT_HASH": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "STUDY": study,
        "PICTURES": json.dumps(rows),
        "SCRIPT": script,
    }
    page = read("page.html")
    for name, value in filled.items():
        page = page.replace(f"@@{name}@@", value, 1)
    return page
