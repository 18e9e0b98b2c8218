"""What looks wrong in a dataset although every file could be read: masks among photos, pairs, copies across splits.

Nothing here changes a file of the dataset. A build says what it finds in its last lines and in `dataset.json`, outside
of the root hash; `--strict` makes it end with exit code 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from dpsdata.dataset.stages import SampleRecord
from dpsdata.images.arrays import LOOK_BITS
from dpsdata.sources.layouts import Notice
from dpsdata.sources.splits import UNLISTED, Splits

MAX_EXAMPLES = 5
TINY_PX = 64
MAX_ASPECT = 3.0
FEW_COLORS = 32
MAX_ONE_COLOR = 0.8
# Bits of 256 in which two looks may differ. Of 1,402 aligned faces the nearest different ones differ in 23; 99 of 100
# copies at JPEG quality 50 differ in 19 at most, and 99 of 100 that are cropped by 1 % in 27: some copies are missed.
MAX_LOOK_DISTANCE = 16
_CHUNK_PAIRS = 1_000_000
_NAMED_OTHERWISE = re.compile(
    r"(?<![a-z])(mask|label|labelmap|seg|segmentation|segm|parsing|sketch|sketche|edge|lineart|anno|annotation|matte|depth|"
    r"normal|landmark|trimap)s?[-_ ]?(?:map|img|color|colou?red)?[0-9]*(?![a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SeenPhoto:
    """What is looked at of a photo in a dataset; so little that those of a million fit into memory."""

    id: str
    source: str
    sha256: str
    width: int
    height: int
    look: bytes  # of `hash_look`; empty where an earlier version built the photo
    has_few_colors: bool

    @classmethod
    def of(cls, record: SampleRecord) -> SeenPhoto:
        """From what the journal tells."""
        stats = record.sample_stats
        few = stats.get("photo_colors", FEW_COLORS + 1) <= FEW_COLORS or stats.get("photo_one_color", 0) > MAX_ONE_COLOR
        is_known = re.fullmatch(f"[0-9a-f]{{{LOOK_BITS // 4}}}", record.look)
        return cls(
            id=record.id,
            source=record.source,
            sha256=record.source_sha256,
            width=record.width,
            height=record.height,
            look=bytes.fromhex(record.look) if is_known else b"",
            has_few_colors=few,
        )

    @property
    def aspect(self) -> float:
        """How many times as long as wide, or as wide as long."""
        return max(self.width, self.height) / max(1, min(self.width, self.height))


def find_implausible(photos: Sequence[SeenPhoto], splits: Splits) -> list[Notice]:
    """What a person should look at in the photos of a dataset.

    Args:
        photos: that are in the dataset.
        splits: of the samples.
    """
    found = {
        "tiny": (
            f"photos have a side below {TINY_PX} px: placeholders or thumbnails",
            [photo.source for photo in photos if min(photo.width, photo.height) < TINY_PX],
        ),
        "banner": (
            f"photos are more than {MAX_ASPECT:g} times as long as wide, and only their middle square is used",
            [photo.source for photo in photos if photo.aspect > MAX_ASPECT],
        ),
        "pairs": (
            "photos are exactly two or three squares side by side, as pix2pix has them, and the middle square cuts "
            "through them; give the photos alone",
            [photo.source for photo in photos if photo.aspect in (2.0, 3.0)],
        ),
        "not-photos": (
            "photos have hardly any colours: masks, label maps, drawings or placeholders",
            [photo.source for photo in photos if photo.has_few_colors],
        ),
        "names": (
            "photos have names of masks, labels, sketches or edges, and are taken as photos",
            [photo.source for photo in photos if _is_named_otherwise(photo.source)],
        ),
    }
    notices = [
        Notice(kind, len(paths), tuple(paths[:MAX_EXAMPLES]), reason)
        for kind, (reason, paths) in found.items()
        if paths
    ]
    return notices + _find_copies(photos, splits)


def _is_named_otherwise(source: str) -> bool:
    path = PurePosixPath(source)
    return any(_NAMED_OTHERWISE.search(part) for part in (*path.parts[:-1], path.stem))


def _find_copies(photos: Sequence[SeenPhoto], splits: Splits) -> list[Notice]:
    """Photos that lie in two splits, as the same or nearly the same picture."""
    looks: dict[str, tuple[list[SeenPhoto], NDArray[np.uint8]]] = {}
    for split, ids in splits.items():
        kept = set(ids)
        chosen = [photo for photo in photos if photo.look and photo.id in kept]
        if split != UNLISTED and chosen:
            words = np.frombuffer(b"".join(photo.look for photo in chosen), np.uint8)
            looks[split] = (chosen, words.reshape(len(chosen), -1))
    count = 0
    examples: list[str] = []
    for first, second in combinations(looks, 2):
        (some, left), (others, right) = looks[first], looks[second]
        for row, column in _near_pairs(left, right):
            one, other = some[row], others[column]
            # A picture without any shape looks like every other one.
            if one.has_few_colors and one.sha256 != other.sha256:
                continue
            count += 1
            if len(examples) < MAX_EXAMPLES:
                examples.append(f"{one.source} ({first}) and {other.source} ({second})")
    if not count:
        return []
    reason = "photos are in two splits, as the same or nearly the same picture, so that scores on one say less"
    return [Notice("near-copies", count, tuple(examples), reason)]


def _near_pairs(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Row of `left` and row of `right` of all looks (N, 32) that differ in few bits, in this order.

    Looks that differ in 16 bits at most have one of 17 blocks of bits in common, so that only pairs that share a block
    are compared: with all pairs, the last step of a build would grow with the square of its photos.
    """
    left_keys, right_keys = _block_keys(left), _block_keys(right)
    orders = np.argsort(right_keys, axis=1, kind="stable")
    right_keys = np.take_along_axis(right_keys, orders, axis=1)
    left_words, right_words = left.view(np.uint64), right.view(np.uint64)
    step = max(1, _CHUNK_PAIRS // len(right))
    for start in range(0, len(left), step):
        found = np.zeros(0, np.int64)
        for keys, known, order in zip(left_keys[:, start : start + step], right_keys, orders, strict=True):
            begin, end = np.searchsorted(known, keys, "left"), np.searchsorted(known, keys, "right")
            sizes = end - begin
            rows = np.repeat(np.arange(len(keys)), sizes)
            # The places begin, begin + 1 ... end - 1 of every row, one row after the other.
            places = np.arange(len(rows)) + np.repeat(begin - (np.cumsum(sizes) - sizes), sizes)
            columns = order[places]
            distance = np.zeros(len(rows), np.uint16)
            for word in range(left_words.shape[1]):
                distance += np.bitwise_count(left_words[start + rows, word] ^ right_words[columns, word])
            is_near = distance <= MAX_LOOK_DISTANCE
            found = np.union1d(found, (start + rows[is_near]) * len(right) + columns[is_near])
        for code in found.tolist():
            yield divmod(code, len(right))


def _block_keys(looks: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The 17 blocks of every look, (17, N): numbers of 15 bits."""
    count = MAX_LOOK_DISTANCE + 1
    width = LOOK_BITS // count
    bits = np.unpackbits(looks, axis=1)[:, : count * width].reshape(len(looks), count, width)
    keys: NDArray[np.uint16] = (bits @ (1 << np.arange(width)).astype(np.uint16)).T.astype(np.uint16)
    return keys
