"""What looks wrong in a dataset although every file could be read: masks among photos, pairs, copies across splits.

Nothing here changes a file of the dataset. A build says what it finds in its last lines and in `dataset.json`, outside
of the root hash; `--strict` makes it end with exit code 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from dpsdata.dataset.looks import LOOK_BITS
from dpsdata.dataset.stages import SampleRecord
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
_CHUNK_PAIRS = 4_000_000
_NAMED_OTHERWISE = re.compile(
    r"(?<![a-z])(mask|label|labelmap|seg|segmentation|segm|parsing|sketch|sketche|edge|lineart|anno|annotation|matte|depth|"
    r"normal|landmark|trimap)s?[-_ ]?(?:map|img|color|colou?red)?[0-9]*(?![a-z])",
    re.IGNORECASE,
)


def find_implausible(records: Iterable[SampleRecord], splits: Splits) -> list[Notice]:
    """What a person should look at in the photos of a dataset.

    Args:
        records: of the samples that are in the dataset.
        splits: of the samples.
    """
    good = list(records)
    found = {
        "tiny": (
            f"photos have a side below {TINY_PX} px: placeholders or thumbnails",
            [record.source for record in good if min(record.width, record.height) < TINY_PX],
        ),
        "banner": (
            f"photos are more than {MAX_ASPECT:g} times as long as wide, and only their middle square is used",
            [record.source for record in good if _aspect(record) > MAX_ASPECT],
        ),
        "pairs": (
            "photos are exactly two or three squares side by side, as pix2pix has them, and the middle square cuts "
            "through them; give the photos alone",
            [record.source for record in good if _aspect(record) in (2.0, 3.0)],
        ),
        "not-photos": (
            "photos have hardly any colours: masks, label maps, drawings or placeholders",
            [record.source for record in good if _has_few_colors(record.facts)],
        ),
        "names": (
            "photos have names of masks, labels, sketches or edges, and are taken as photos",
            [record.source for record in good if _is_named_otherwise(record.source)],
        ),
    }
    notices = [
        Notice(kind, len(paths), tuple(paths[:MAX_EXAMPLES]), reason)
        for kind, (reason, paths) in found.items()
        if paths
    ]
    return notices + _find_copies(good, splits)


def _aspect(record: SampleRecord) -> float:
    return max(record.width, record.height) / max(1, min(record.width, record.height))


def _has_few_colors(facts: Mapping[str, float]) -> bool:
    return facts.get("photo_colors", FEW_COLORS + 1) <= FEW_COLORS or facts.get("photo_one_color", 0) > MAX_ONE_COLOR


def _is_named_otherwise(source: str) -> bool:
    path = PurePosixPath(source)
    return any(_NAMED_OTHERWISE.search(part) for part in (*path.parts[:-1], path.stem))


def _find_copies(records: Sequence[SampleRecord], splits: Splits) -> list[Notice]:
    """Photos that lie in two splits, as the same or nearly the same picture."""
    looks: dict[str, tuple[list[SampleRecord], NDArray[np.uint64]]] = {}
    for split, ids in splits.items():
        kept = set(ids)
        chosen = [record for record in records if record.id in kept and len(record.look) == LOOK_BITS // 4]
        if split != UNLISTED and chosen:
            words = np.frombuffer(bytes.fromhex("".join(record.look for record in chosen)), np.uint64)
            looks[split] = (chosen, words.reshape(len(chosen), -1))
    pairs: list[str] = []
    for first, second in combinations(looks, 2):
        (some, left), (others, right) = looks[first], looks[second]
        step = max(1, _CHUNK_PAIRS // len(right))
        for start in range(0, len(left), step):
            distance = np.zeros((len(left[start : start + step]), len(right)), np.uint16)
            for word in range(left.shape[1]):
                distance += np.bitwise_count(left[start : start + step, word, None] ^ right[None, :, word])
            for row, column in np.argwhere(distance <= MAX_LOOK_DISTANCE):
                one, other = some[start + row], others[column]
                # A picture without any shape looks like every other one.
                if not (_has_few_colors(one.facts) and one.source_sha256 != other.source_sha256):
                    pairs.append(f"{one.source} ({first}) and {other.source} ({second})")
    if not pairs:
        return []
    reason = "photos are in two splits, as the same or nearly the same picture, so that scores on one say less"
    return [Notice("near-copies", len(pairs), tuple(pairs[:MAX_EXAMPLES]), reason)]
