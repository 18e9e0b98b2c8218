"""One-to-one matching of detected boundary pixels to the boundaries of several annotators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import UsageError

Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class BoundaryMatch:
    """The pairs of a matching: entry i pairs one detected pixel with one pixel of one annotator.

    Attributes:
        annotator: (P,) index of the annotator.
        detected: (P,) flat index of the detected pixel in the (H, W) image; unique per annotator.
        truth: (P,) flat index of the annotator's pixel; unique per annotator.
    """

    annotator: Indices
    detected: Indices
    truth: Indices


class BoundaryMatcher:
    """Matches detected pixels to each annotator's pixels within a radius, as many pairs as there can be.

    The pairs start with the nearest pixels and are then completed along augmenting paths, so the
    number of pairs is the maximum and a pixel that has a partner near by keeps a partner.
    scipy's `maximum_bipartite_matching` is not used: on such graphs it has taken over a minute.

    Args:
        boundaries: (A, H, W) bool, one plane per annotator.
        radius_px: greatest distance of a pair in pixels.

    Raises:
        UsageError: `boundaries` is not a bool array of three axes, or the radius is negative.
    """

    def __init__(self, boundaries: Flags, radius_px: float) -> None:
        if boundaries.ndim != 3 or boundaries.dtype != np.bool_ or boundaries.size == 0:
            raise UsageError(
                f"boundaries: expected a bool array (annotators, H, W) that is not empty, "
                f"got {boundaries.dtype} {boundaries.shape}"
            )
        if not 0 <= radius_px < np.inf:
            raise UsageError(f"radius_px: expected a distance of 0 or more, got {radius_px}")
        reach = int(radius_px)
        self._shape = boundaries.shape[1:]
        self._reach = reach
        # The margin keeps flat offsets from running over into the next row or plane.
        truths = np.pad(boundaries, ((0, 0), (reach, reach), (reach, reach)))
        self._plane = truths.shape[1:]
        self._offsets = _disc_offsets(radius_px, self._plane[1])
        self._truths = truths.reshape(-1)
        self._truth_pixels = np.flatnonzero(self._truths)
        near = np.zeros_like(self._truths)
        for offset in self._offsets:
            near[self._truth_pixels + offset] = True
        self._near = near.reshape(len(boundaries), -1)

    def match(self, detected: Flags) -> BoundaryMatch:
        """Match detected pixels with every annotator separately.

        Args:
            detected: (H, W) bool.

        Returns:
            A matching with the greatest possible number of pairs for each annotator.
        """
        if detected.shape != self._shape or detected.dtype != np.bool_:
            raise UsageError(f"detected: expected a bool array {self._shape}, got {detected.dtype} {detected.shape}")
        rows, columns = np.nonzero(detected)
        pixels = (rows + self._reach) * self._plane[1] + columns + self._reach
        annotators, entries = np.nonzero(self._near[:, pixels])
        plane = self._near.shape[1]
        detections = pixels[entries] + annotators * plane
        partners = self._match_nearest(detections)
        for annotator in range(len(self._near)):
            mine = slice(*np.searchsorted(annotators, [annotator, annotator + 1]))
            first, end = np.searchsorted(self._truth_pixels, np.array([0, plane]) + annotator * plane)
            local = np.where(partners[mine] >= 0, partners[mine] - first, -1)
            completed = self._complete(detections[mine], self._truth_pixels[first:end], local)
            partners[mine] = np.where(completed >= 0, completed + first, -1)
        paired = partners >= 0
        return BoundaryMatch(
            annotators[paired], self._unpadded(detections[paired]), self._unpadded(self._truth_pixels[partners[paired]])
        )

    def _match_nearest(self, detections: Indices) -> Indices:
        """Pair greedily, nearest first: position in `_truth_pixels` per detection, -1 without partner."""
        free = np.full(self._truths.size, -1, np.intp)
        free[self._truth_pixels] = np.arange(self._truth_pixels.size)
        partners = np.full(detections.size, -1, np.intp)
        waiting = np.arange(detections.size)
        for offset in self._offsets:  # one offset never leads two detections to the same pixel
            targets = detections[waiting] + offset
            found = free[targets]
            taken = found >= 0
            partners[waiting[taken]] = found[taken]
            free[targets[taken]] = -1
            waiting = waiting[~taken]
        return partners

    def _complete(self, detections: Indices, truths: Indices, partners: Indices) -> Indices:
        """Add pairs along augmenting paths until there is no such path: one annotator's final partners."""
        owners = np.full(truths.size, -1, np.intp)
        paired = np.flatnonzero(partners >= 0)
        owners[partners[paired]] = paired
        # The search starts at the side with fewer single pixels: each of them costs a search.
        if np.count_nonzero(partners < 0) <= np.count_nonzero(owners < 0):
            return _augment(*self._neighbours(detections, truths), partners, owners)
        owners = _augment(*self._neighbours(truths, detections), owners, partners)
        partners = np.full(detections.size, -1, np.intp)
        paired = np.flatnonzero(owners >= 0)
        partners[owners[paired]] = paired
        return partners

    def _neighbours(self, pixels: Indices, others: Indices) -> tuple[Indices, Indices]:
        """Positions in `others` within reach of each of `pixels`, nearest first, as row starts and entries."""
        position = np.full(self._truths.size, -1, np.int32)
        position[others] = np.arange(others.size)
        found = position[pixels[:, None] + self._offsets]
        within = found >= 0
        starts = np.zeros(pixels.size + 1, np.intp)
        np.cumsum(np.count_nonzero(within, axis=1), out=starts[1:])
        return starts, found[within]

    def _unpadded(self, pixels: Indices) -> Indices:
        rows, columns = np.divmod(pixels % self._near.shape[1], self._plane[1])
        flat: Indices = (rows - self._reach) * self._shape[1] + columns - self._reach
        return flat


def _disc_offsets(radius_px: float, row_length: int) -> Indices:
    """Flat offsets of the pixels within the radius, nearest first."""
    reach = int(radius_px)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    squared = rows * rows + columns * columns
    order = np.argsort(squared, kind="stable")[: np.count_nonzero(squared <= radius_px * radius_px)]
    offsets: Indices = rows[order] * row_length + columns[order]
    return offsets


def _augment(starts: Indices, neighbours: Indices, partners: Indices, owners: Indices) -> Indices:
    """Grow a matching to the maximum by breadth-first augmenting paths from every single row.

    Plain lists: the searches visit few nodes each, where array calls would cost more than the visit.
    """
    row_starts, entries = starts.tolist(), neighbours.tolist()
    partner_of, owner_of = partners.tolist(), owners.tolist()
    reached_from = [-1] * len(owner_of)
    for root in np.flatnonzero((partners < 0) & (np.diff(starts) > 0)).tolist():
        queue, reached, last = [root], [], -1
        for row in queue:
            for column in entries[row_starts[row] : row_starts[row + 1]]:
                if reached_from[column] >= 0:
                    continue
                reached_from[column] = row
                reached.append(column)
                if owner_of[column] < 0:
                    last = column
                    break
                queue.append(owner_of[column])
            if last >= 0:
                break
        if last < 0:
            continue  # the marks stay: no later path can lead through the tree of a failed search
        while last >= 0:
            row = reached_from[last]
            owner_of[last] = row
            partner_of[row], last = last, partner_of[row]
        for column in reached:
            reached_from[column] = -1
    return np.array(partner_of, np.intp)
