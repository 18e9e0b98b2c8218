"""Where the model's square lies in a photo: found or given, cut out, and pasted back.

Points are (x, y) in px; whole numbers are the centres of pixels, as the eyes of the CelebA-HQ frame are given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import EYE_CENTRES, FindingsError, UsageError
from dpsdata.images.arrays import resize_nearest, resize_photo
from dpsdata.images.faces import find_faces, looks_aligned

Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]
Box = tuple[float, float, float, float]
# Centre x, centre y and side of the cascade's square, px.
Face = tuple[float, float, float]

_REFERENCE_PX = 256
_LEFT_EYE_PX, _RIGHT_EYE_PX = EYE_CENTRES
# The cascade's square on aligned faces at 256 px: mean centre and side, see dpsdata.images.faces.
_FACE_CENTRE_PX, _FACE_SIDE_PX = (129.5, 138.8), 170.6
_SEARCH_PX, _MIN_FACE_PX = 400, 40
# Sides of the windows around a hole in which small faces are looked for, in sides of the hole.
_WINDOWS = (20, 10, 5, 2.5)
_WHOLE_HOLE = 0.95
# Of a frame, in longer sides of its photo: more would leave next to nothing of the photo to be seen.
_MAX_SIDE = 16


class NoFaceError(UsageError):
    """No face was found in a photo."""


class OutsideFacesError(FindingsError):
    """There are faces in a photo, but the hole lies on none."""


@dataclass(frozen=True)
class PhotoFrame:
    """A square of the model over a photo.

    Attributes:
        height: of the photo, px.
        width: of the photo, px.
        size: side of the model's images, px.
        matrix: 2 x 3, from points of the photo to points of the model's image.
        is_whole: the square is the whole photo, stretched where that is not square.
    """

    height: int
    width: int
    size: int
    matrix: Matrix
    is_whole: bool = False

    def __post_init__(self) -> None:
        corners = self._corners()
        low, high = corners.min(axis=0), corners.max(axis=0)
        if not np.isfinite(corners).all() or low[0] >= self.width or low[1] >= self.height or (high <= 0).any():
            raise UsageError(
                f"the face's frame is outside the photo ({self.width} x {self.height} px); "
                "give --box or --eyes in px of the upright photo"
            )
        if self.scale * self.size > _MAX_SIDE * max(self.height, self.width):
            raise UsageError(
                f"the face's frame is {self.scale * self.size:.0f} px wide, far more than the photo of {self.width} x "
                f"{self.height} px; give --box or --eyes in px of the upright photo"
            )

    @property
    def scale(self) -> float:
        """Pixels of the photo to one pixel of the model."""
        (a, b, _), (c, d, _) = self.matrix
        return 1 / math.sqrt(abs(a * d - b * c))

    @property
    def box(self) -> Box:
        """Left, top, width and height in px of the upright rectangle around the square."""
        corners = self._corners()
        left, top = (float(value) for value in corners.min(axis=0))
        right, bottom = (float(value) for value in corners.max(axis=0))
        return left, top, right - left, bottom - top

    def take_photo(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut (H, W, 3) uint8 out as (S, S, 3)."""
        size = (self.size, self.size)
        if self.is_whole:
            if self.height == self.width:
                return resize_photo(rgb, self.size)
            shrinks = self.height * self.width > self.size**2
            interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
            return np.asarray(cv2.resize(rgb, size, interpolation=interpolation), np.uint8)
        part, matrix = self._crop(rgb)
        blurred = _blur(part, self.scale)
        return np.asarray(cv2.warpAffine(blurred, matrix, size, borderMode=cv2.BORDER_REFLECT_101), np.uint8)

    def take_marks(self, marks: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut (H, W) of 0 and 1 out as (S, S) of 0 and 1; what touches a pixel of the model at all is kept."""
        if self.is_whole:
            steps = (self.height / self.size, self.width / self.size)
            return resize_nearest(_widen(marks, *steps), self.size, self.size)
        part, matrix = self._crop(marks)
        wide = _widen(part, self.scale, self.scale)
        warped = cv2.warpAffine(wide, matrix, (self.size, self.size), flags=cv2.INTER_NEAREST)
        return np.asarray(warped, np.uint8)

    def put_back(self, image: NDArray[np.float32], rows: slice, columns: slice) -> NDArray[np.float32]:
        """Give (S, S) or (S, S, C) float32 back as rows and columns of the photo; it may overshoot a little."""
        if self.is_whole and (self.height, self.width) == image.shape[:2]:
            return image[rows, columns]
        if self.is_whole and self.height * self.width < self.size**2:
            small = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
            return np.asarray(small, np.float32)[rows, columns]
        matrix = np.array(self.matrix)
        matrix[:, 2] += matrix[:, :2] @ (columns.start, rows.start)
        interpolation = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        size = (columns.stop - columns.start, rows.stop - rows.start)
        blurred = _blur(image, 1 / self.scale)
        return np.asarray(
            cv2.warpAffine(blurred, matrix, size, flags=interpolation, borderMode=cv2.BORDER_REPLICATE), np.float32
        )

    def covers(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Which of the photo's pixels in these rows and columns lie in the frame."""
        y = np.arange(rows.start, rows.stop)[:, None]
        x = np.arange(columns.start, columns.stop)[None, :]
        inside = np.ones((y.size, x.size), bool)
        for along_x, along_y, offset in () if self.is_whole else self.matrix:
            position = along_x * x + along_y * y + offset
            inside &= (position >= -0.5) & (position <= self.size - 0.5)
        return inside

    def _corners(self) -> NDArray[np.float64]:
        """Corners in the photo, measured from its top left corner."""
        matrix = np.array(self.matrix)
        edge = np.array([(x, y) for x in (-0.5, self.size - 0.5) for y in (-0.5, self.size - 0.5)])
        return np.asarray(np.linalg.solve(matrix[:, :2], (edge - matrix[:, 2]).T).T + 0.5, np.float64)

    def _crop(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The part of the photo that the frame reads, since OpenCV warps 32767 px at most, and its matrix."""
        margin = 2 * self.scale + 4
        corners = self._corners()
        low = np.maximum(np.floor(corners.min(axis=0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(axis=0) + margin), (self.width, self.height)).astype(int)
        matrix = np.array(self.matrix)
        matrix[:, 2] += matrix[:, :2] @ low
        return np.ascontiguousarray(pixels[low[1] : high[1], low[0] : high[0]]), matrix


def whole_frame(height: int, width: int, size: int) -> PhotoFrame:
    """The whole photo, which is an aligned crop already."""
    x, y = size / width, size / height
    return PhotoFrame(height, width, size, ((x, 0.0, (x - 1) / 2), (0.0, y, (y - 1) / 2)), is_whole=True)


def box_frame(height: int, width: int, size: int, box: Box) -> PhotoFrame:
    """The square around a box (left, top, width, height in px) as the CelebA-HQ frame; it may reach out of the photo.

    Raises:
        UsageError: the box is empty or is outside the photo.
    """
    left, top, wide, tall = box
    if not (all(map(math.isfinite, box)) and wide >= 1 and tall >= 1):
        raise UsageError(f"box: expected left, top, width and height in px, at least 1 px wide and high, got {box}")
    side = max(wide, tall)
    step = size / side
    x0, y0 = left + (wide - side) / 2, top + (tall - side) / 2
    x, y = ((0.5 - start) * step - 0.5 for start in (x0, y0))
    return PhotoFrame(height, width, size, ((step, 0.0, x), (0.0, step, y)))


def eyes_frame(height: int, width: int, size: int, eyes: Box) -> PhotoFrame:
    """The frame that brings two eye centres (x1, y1, x2, y2 in px) to their places in CelebA-HQ, roll undone.

    Raises:
        UsageError: the eyes are one point, or the frame is outside the photo.
    """
    first, second = sorted([complex(eyes[0], eyes[1]), complex(eyes[2], eyes[3])], key=lambda eye: eye.real)
    if not all(map(math.isfinite, eyes)) or abs(second - first) < 1:
        raise UsageError(f"eyes: expected x1,y1,x2,y2 of two eye centres at least 1 px apart, got {eyes}")
    grow = size / _REFERENCE_PX
    left, right = (complex((x + 0.5) * grow - 0.5, (y + 0.5) * grow - 0.5) for x, y in (_LEFT_EYE_PX, _RIGHT_EYE_PX))
    turn = (right - left) / (second - first)
    shift = left - turn * first
    matrix = ((turn.real, -turn.imag, shift.real), (turn.imag, turn.real, shift.imag))
    return PhotoFrame(height, width, size, matrix)


def find_frame(rgb: NDArray[np.uint8], size: int, hole: NDArray[np.uint8] | None = None) -> PhotoFrame:
    """Find the face of a photo.

    A square photo of the model's size, or whose face lies in its place, is taken as a whole.

    Args:
        rgb: uint8 (H, W, 3), upright.
        size: side of the model's images, px.
        hole: uint8 (H, W), hole = 1, on the face that is meant; None or empty for the largest face.

    Raises:
        NoFaceError: there is no frontal face that the cascade finds.
        OutsideFacesError: the hole is outside the frames of all faces.
    """
    height, width = rgb.shape[:2]
    if height == width and (height == size or looks_aligned(rgb)):
        return whole_frame(height, width, size)
    faces = _search(rgb)
    if hole is not None and hole.any():
        faces = _choose_face(rgb, faces, hole)
    if not faces:
        raise NoFaceError(
            "no face was found in the photo; give its place with --box x,y,w,h (the square from hair to shoulders) or "
            "--eyes x1,y1,x2,y2, or pass --align none for a photo that is an aligned crop already"
        )
    return box_frame(height, width, size, _face_box(faces[0]))


def _face_box(face: Face) -> Box:
    """The frame of a face as left, top, width and height."""
    x, y, side = face
    unit = side / _FACE_SIDE_PX
    side = unit * _REFERENCE_PX
    return x - unit * _FACE_CENTRE_PX[0], y - unit * _FACE_CENTRE_PX[1], side, side


def _search(rgb: NDArray[np.uint8], left: int = 0, top: int = 0) -> list[Face]:
    """Faces of a photo, or of the part of it whose corner is given, the largest first."""
    height, width = rgb.shape[:2]
    shrink = max(1.0, max(height, width) / _SEARCH_PX)
    small = rgb
    if shrink > 1:
        small_size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        small = np.asarray(cv2.resize(rgb, small_size, interpolation=cv2.INTER_AREA), np.uint8)
    found = find_faces(np.ascontiguousarray(small), _MIN_FACE_PX)
    return [(left + x * shrink, top + y * shrink, side * shrink) for x, y, side in found]


def _choose_face(rgb: NDArray[np.uint8], faces: list[Face], hole: NDArray[np.uint8]) -> list[Face]:
    """The face that a hole is on, as a list of one; none where the photo has no face."""
    rows, columns = np.nonzero(hole)
    x, y = float(columns.mean()) + 0.5, float(rows.mean()) + 0.5
    for face in faces:
        if _holds(face, x, y) and _share_within(hole, _square(face)):  # not the face between two that are painted on
            return [face]
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    for window in _WINDOWS:  # faces that were too small to be found in the whole photo
        reach = window * extent / 2
        top, left = max(0, int(y - reach)), max(0, int(x - reach))
        part = rgb[top : math.ceil(y + reach), left : math.ceil(x + reach)]
        if min(part.shape[:2]) < _MIN_FACE_PX or part.shape == rgb.shape:
            continue
        for face in _search(part, left, top):
            is_known = any(_holds(known, face[0], face[1]) for known in faces)
            if not is_known and _share_within(hole, _square(face)) >= _WHOLE_HOLE:
                return [face]
    if not faces:
        return []
    shares = [_share_within(hole, _face_box(face)) for face in faces]
    if not any(shares):
        boxes = " or ".join("--box " + ",".join(f"{value:.0f}" for value in _face_box(face)) for face in faces[:5])
        raise OutsideFacesError(
            f"the hole is outside every face that was found, so nothing is edited; paint it on a face ({boxes}), "
            "or give the place of its face with --box x,y,w,h or --eyes x1,y1,x2,y2"
        )
    return [faces[int(np.argmax(shares))]]


def _square(face: Face) -> Box:
    x, y, side = face
    return x - side / 2, y - side / 2, side, side


def _holds(face: Face, x: float, y: float) -> bool:
    return max(abs(x - face[0]), abs(y - face[1])) <= face[2] / 2


def _share_within(hole: NDArray[np.uint8], box: Box) -> float:
    """Share of a hole's pixels in a box."""
    left, top, wide, tall = box
    rows, columns = (
        slice(max(0, round(start)), max(0, round(start + side))) for start, side in ((top, tall), (left, wide))
    )
    return float(hole[rows, columns].sum() / hole.sum())


def _blur(pixels: NDArray[Any], step: float) -> NDArray[Any]:
    """Take out what would alias when every `step`-th pixel is read."""
    if step <= 1:
        return pixels
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 0.5 * math.sqrt(step * step - 1) + 1e-6))


def _widen(marks: NDArray[np.uint8], step_y: float, step_x: float) -> NDArray[np.uint8]:
    """Widen marks so that every `step`-th pixel still meets them."""
    tall, wide = (2 * math.ceil(max(0.0, step - 1 - 1e-9) / 2) + 1 for step in (step_y, step_x))
    return np.asarray(cv2.dilate(marks, np.ones((tall, wide), np.uint8)), np.uint8)
