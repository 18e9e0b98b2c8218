"""What one tab of the browser has open: photo, drawing, results; every failure is a sentence. No page code here."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsdata.contracts import DEFAULT_LEVELS, BrokenImageError, UsageError, check_level
from dpsdata.images.codec import encode_png
from dpsdata.images.photo_file import PhotoFile
from models.app.drawn_edit import DrawnEdit, LevelPatch, Marks, grey_url, hole_region, photo_url, read_layer
from models.app.edit_folder import open_edit, pack_edit
from models.app.engine import BLENDED, EXACT, AnyEngine, Engine, Pasting, Placement, refuse_folder
from models.app.opened_photo import OpenedPhoto, clean_stem, find_own_lines, open_photo, pick_face, place_face
from models.app.strokes import paint_layer, read_layers
from models.editing.editor import EditResult
from models.editing.provenance import hash_request, write_mark
from models.editing.request import EditRequest, InputFile
from models.editing.run import make_run
from models.editing.user_inputs import find_lines, find_mix_up, read_edit_inputs

LEVELS = DEFAULT_LEVELS
_CACHE_BYTES = 384 * 2**20
_MAX_FILES = 200
_MAX_JPEG_XMP = 60_000
_NO_PHOTO = "Choose a photo first, or use the sample."


class EditSession:
    """One tab.

    Args:
        engine: Deep Plastic Surgery, shared with other tabs.

    Attributes:
        engine: the method that is chosen.
        editor: the networks of Deep Plastic Surgery that were chosen last; face squares are proposed for them.
        photo: what is open.
        shown: the drawing whose levels are on the page.
        level: the one that the slider stands on.
        marked: results say that they were edited; see `models.editing.provenance`.
        exact: paste results as they are, with a seam.
        blended: what is done otherwise; that of an opened edit where it blends.
        notes: sentences about what was opened last.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine: AnyEngine = engine
        self.editor = engine
        self.photo: OpenedPhoto | None = None
        self.shown: DrawnEdit | None = None
        self.level = 0.5
        self.marked = True
        self.exact, self.blended = False, BLENDED
        self.notes: tuple[str, ...] = ()
        self._files: dict[str, dict[str, Marks]] = {"mask": {}, "sketch": {}}
        self._cache: OrderedDict[tuple[str, float | None], LevelPatch] = OrderedDict()

    def choose(self, engine: AnyEngine) -> None:
        """Take another method; nothing of the one before is shown any more."""
        if engine is not self.engine:
            self.engine, self.shown = engine, None
        if isinstance(engine, Engine):
            self.editor = engine

    def open_photo(self, data: bytes, name: str) -> dict[str, Any]:
        """Open a photo; what was open before goes.

        Returns:
            What the page needs to show it.

        Raises:
            UsageError: it is no photo that can be read; what was open stays.
        """
        self._take(open_photo(data, name, self.editor.resolution))
        return self._describe()

    def open_edit(self, files: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
        """Open an edit that was saved: (name, content) of its zip, or of the files of its folder.

        Returns:
            What the page needs to show it.

        Raises:
            UsageError: it is no such edit; what was open stays.
        """
        stored = open_edit(files)
        request, inputs = stored.request, stored.inputs
        data = {role: item.data for role, item in inputs.items()}
        try:
            edit = read_edit_inputs(data["photo"], data.get("sketch"), data.get("mask"), request.invert_mask)
        except BrokenImageError as error:
            raise UsageError(f"This edit cannot be opened: {error}.") from None
        is_panels = "mask" not in data
        file = InputFile("inputs/photo.png", edit.file.encode_edit()) if is_panels else inputs["photo"]
        placement = self._stored_placement(edit.photo, request, is_panels)
        placement.frame(edit.photo.shape[0], edit.photo.shape[1], self.editor.resolution)
        notes: tuple[str, ...] = ()
        if self.engine is not self.editor:
            notes = (f"This edit was made with Deep Plastic Surgery; {self.engine.method.title} is chosen now.",)
        elif stored.weights_sha256 != self.editor.hashes:
            notes = ("This edit was made with other weights, so its results will differ.",)
        self._take(OpenedPhoto(file, edit.file, "photo", placement, notes))
        self.level = request.levels[-1]
        pasting = Pasting(request.feather_px, request.blend, request.grain)
        self.exact, self.marked = pasting == EXACT, request.provenance
        self.blended = BLENDED if self.exact else pasting
        layers = {"mask": (edit.mask > 127).astype(np.uint8), "sketch": find_lines(edit.sketch)[0]}
        return self._describe({role: self._keep(role, marks) for role, marks in layers.items()})

    def add_layer(self, role: str, data: bytes, name: str) -> dict[str, Any]:
        """Take in an uploaded mask or sketch.

        Args:
            role: `mask` or `sketch`.
            data: content of the file.
            name: of the file.

        Returns:
            Role, ID and picture for the page.

        Raises:
            UsageError: it cannot be read, has another size than the photo, or looks swapped with the other layer.
        """
        if self.photo is None:
            raise UsageError(_NO_PHOTO)
        marks, notes = read_layer(role, data, name, self.photo.size)
        other = next(reversed(self._files["sketch" if role == "mask" else "mask"].values()), None)
        if other is not None:
            hole, lines = (marks, other) if role == "mask" else (other, marks)
            fault = find_mix_up(hole == 1, lines == 1)
            if fault:
                raise UsageError(
                    f"{fault[:1].upper()}{fault[1:]}. Upload a filled shape as the mask, and lines as the sketch."
                )
        self.notes = notes
        return {"role": role, **self._keep(role, marks)}

    def draw(self, text: str) -> DrawnEdit:
        """Paint what the page sent, and check that it can be run.

        Raises:
            UsageError: no photo is open, or the drawing has no hole where the face square is.
        """
        engine = self.engine
        photo, placement, hole, lines = self._paint(text)
        frame = placement.frame(*photo.size, self.editor.resolution)
        if not hole.any():
            raise UsageError("The hole is empty. Paint over what should change.")
        where = hole_region(hole)
        missed = int((hole[where] == 1).sum() - ((hole[where] == 1) & frame.covers(*where)).sum())
        total = int(hole.sum())
        if missed == total:
            raise UsageError(
                "The hole is outside the dashed face square, so nothing would change. "
                "Move the square over the face, or paint inside of it."
            )
        notes = []
        if missed:
            notes.append(f"{_percent(missed, total)} of the hole is outside the dashed square and stays as it is.")
        ink = int(lines.sum())
        outside = int((lines & (1 - hole)).sum())
        if not engine.method.takes_sketch:
            if ink:
                notes.append(f"{engine.method.title} does not read the lines.")
        elif not ink:
            notes.append("There is no line, so the hole is filled without one.")
        elif outside:
            notes.append(f"{_percent(outside, ink)} of the line is outside the hole (grey) and is ignored.")
        pasting = EXACT if self.exact else self.blended
        digest = hashlib.sha256(repr((engine.method.name, engine.weights, placement, pasting)).encode())
        for layer in (hole, lines):
            digest.update(np.packbits(layer).tobytes())
        key = digest.hexdigest()
        return DrawnEdit(engine, photo, placement, hole, lines, pasting, key, tuple(notes))

    def pick_face(self, x: float, y: float) -> list[float]:
        """Move the face square to the face at a point.

        Args:
            x: px of the photo.
            y: px of the photo.

        Returns:
            Left, top and side of the square, px.

        Raises:
            UsageError: no photo is open, or no face was found there.
        """
        if self.photo is None:
            raise UsageError(_NO_PHOTO)
        return pick_face(self.photo.pixels, x, y, self.editor.resolution)

    def own_lines(self, text: str) -> dict[str, Any]:
        """The photo's own lines inside of the hole, beside what is drawn already; as `add_layer` returns them.

        Raises:
            UsageError: no photo is open, or there is no hole.
        """
        photo, placement, hole, lines = self._paint(text)
        if not hole.any():
            raise UsageError("The hole is empty. Paint over what should change, then take the photo's own lines.")
        own = find_own_lines(photo.pixels, placement) & hole
        self.notes = () if own.any() else ("The photo has no clear line inside of the hole.",)
        return {"role": "sketch", **self._keep("sketch", lines | own)}

    def run(self, text: str, level: float) -> tuple[DrawnEdit, LevelPatch]:
        """Paint a drawing at a level, which is then what is shown and would be saved.

        Raises:
            UsageError: as in `draw` and `run_level`.
        """
        drawn = self.draw(text)
        patch = self.run_level(drawn, level)
        self.shown, self.level = drawn, check_level(level)
        return drawn, patch

    def layer_file(self, text: str, role: str) -> bytes:
        """The PNG of the mask or the sketch as drawn; raises UsageError where no photo is open."""
        _, _, hole, lines = self._paint(text)
        return encode_png(hole * np.uint8(255) if role == "mask" else (1 - lines) * np.uint8(255))

    def run_level(self, drawn: DrawnEdit, level: float) -> LevelPatch:
        """The result of one level, or the only one of a method without; from the cache where it was made before.

        Raises:
            UsageError: the level is not in [0, 1].
            MissingError: the weights of a method that is loaded now are damaged.
        """
        key = (drawn.key, check_level(level) if drawn.engine.method.has_level else None)
        cache = self._cache
        found = cache.get(key)
        if found is None:
            photo = drawn.photo
            result = drawn.engine.edit(
                photo.pixels, drawn.placement, drawn.sketch, drawn.mask, level, drawn.pasting, photo.source.colors
            )
            where = hole_region(drawn.hole)
            refined = result.refined_sketch[where].copy() if isinstance(result, EditResult) else None
            found = LevelPatch(result.level, where, result.photo[where].copy(), refined)
            if drawn.photo is self.photo:
                cache[key] = found
                while len(cache) > 1 and sum(item.byte_count for item in cache.values()) > _CACHE_BYTES:
                    cache.popitem(last=False)
        else:
            cache.move_to_end(key)
        return found

    def move(self, level: float) -> None:
        """Put the slider on a level; raises UsageError where it is not in [0, 1]."""
        self.level = check_level(level)

    def current(self) -> tuple[DrawnEdit, LevelPatch]:
        """What is shown and would be saved.

        Raises:
            UsageError: no level was run yet.
        """
        if self.shown is None:
            raise UsageError("There is no result yet. Paint a hole first.")
        return self.shown, self.run_level(self.shown, self.level)

    def save_photo(self) -> tuple[str, bytes]:
        """Name and content of the full-size PNG at the slider's level; pixels outside of the hole are the photo's."""
        drawn, patch = self.current()
        source = self._mark(drawn, patch, drawn.photo.source)
        return f"{_name(drawn, patch)}.png", source.encode_edit(patch.whole_photo(drawn.photo.pixels))

    def save_jpeg(self) -> tuple[str, bytes]:
        """The same as JPEG of quality 95, in the photo's own colours; pixels outside of the hole change a little."""
        drawn, patch = self.current()
        source = drawn.photo.source
        if len(source.metadata.xmp or b"") > _MAX_JPEG_XMP:
            source = source.with_xmp(b"")  # there is no room for it and the mark
        source = self._mark(drawn, patch, source)
        return f"{_name(drawn, patch)}.jpg", source.encode_jpeg(patch.whole_photo(drawn.photo.pixels))

    def save_edit(self) -> tuple[str, bytes]:
        """Name and content of the edit folder as a zip, which `dps edit --from` repeats.

        Raises:
            UsageError: no level was run yet, or the method is not the one that `dps edit` runs.
            MissingError: the weights were changed since the start.
        """
        drawn, patch = self.current()
        if not isinstance(drawn.engine, Engine) or patch.level is None:
            raise UsageError(refuse_folder(drawn.engine.method))
        request = self._request(drawn, drawn.engine, patch.level)
        contents, _ = make_run(request, _inputs(drawn), drawn.engine.hashes)
        folder = f"{clean_stem(drawn.photo.stem)}-edit"
        return f"{folder}.zip", pack_edit(contents, folder)

    def _request(self, drawn: DrawnEdit, engine: Engine, level: float) -> EditRequest:
        place, how = drawn.placement, drawn.pasting._asdict()
        align = "none" if place == Placement() else "auto"
        return EditRequest(
            "edit", (level,), engine.weights, align, place.box, place.eyes, provenance=self.marked, **how
        )

    def _mark(self, drawn: DrawnEdit, patch: LevelPatch, source: PhotoFile) -> PhotoFile:
        """The photo, to be encoded with the mark of an edit unless that is left out."""
        if not self.marked:
            return source
        engine = drawn.engine
        if isinstance(engine, Engine) and patch.level is not None:
            config = asdict(self._request(drawn, engine, patch.level))
        else:
            config = {"method": engine.method.name, **asdict(drawn.placement), **drawn.pasting._asdict()}
        inputs = {role: item.sha256 for role, item in _inputs(drawn).items()}
        return source.with_xmp(write_mark(source.metadata.xmp, hash_request(config, inputs, engine.hashes)))

    def _paint(self, text: str) -> tuple[OpenedPhoto, Placement, Marks, Marks]:
        if self.photo is None:
            raise UsageError(_NO_PHOTO)
        layers = read_layers(text)
        placement = self.photo.placement if layers.box is None else Placement(layers.box)
        hole = paint_layer(layers.mask, *self.photo.size, self._files["mask"])
        return self.photo, placement, hole, paint_layer(layers.sketch, *self.photo.size, self._files["sketch"])

    def _take(self, photo: OpenedPhoto) -> None:
        self.photo, self.shown, self.notes = photo, None, photo.notes
        self.level, self.marked, self.exact, self.blended = 0.5, True, False, BLENDED
        self._files = {"mask": {}, "sketch": {}}
        self._cache = OrderedDict()

    def _keep(self, role: str, marks: Marks) -> dict[str, Any]:
        files = self._files[role]
        name = hashlib.sha256(np.packbits(marks).tobytes()).hexdigest()[:16]
        files[name] = marks
        if len(files) > _MAX_FILES:
            files.pop(next(iter(files)))
        # Whole, so that the page can hand it back to a server that was started again.
        return {"id": name, "url": grey_url(marks * np.uint8(255), max(marks.shape))}

    def _stored_placement(self, photo: NDArray[np.uint8], request: EditRequest, is_panels: bool) -> Placement:
        if request.box is not None:
            return Placement((request.box[0], request.box[1], request.box[2], request.box[3]))
        if request.eyes is not None:
            return Placement(None, (request.eyes[0], request.eyes[1], request.eyes[2], request.eyes[3]))
        if is_panels or request.align == "none":
            return Placement()
        return place_face(photo, self.editor.resolution)[0]

    def _describe(self, layers: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
        assert self.photo is not None  # noqa: S101 (for the type checker)
        frame = self.photo.placement.frame(*self.photo.size, self.editor.resolution)
        left, top, width, height = frame.box
        return {
            "photo": photo_url(self.photo.pixels, colors=self.photo.source.colors),
            "width": self.photo.size[1],
            "height": self.photo.size[0],
            "box": [left, top, max(width, height)],
            "isWhole": frame.is_whole,
            "stem": self.photo.stem,
            "level": self.level,
            "exact": self.exact,
            "marked": self.marked,
            "layers": layers or {},
            "token": secrets.token_hex(8),
        }


def _name(drawn: DrawnEdit, patch: LevelPatch) -> str:
    return f"{drawn.photo.stem}-{drawn.engine.method.name if patch.level is None else f'l{patch.level:g}'}"


def _inputs(drawn: DrawnEdit) -> dict[str, InputFile]:
    """What `dps edit` reads."""
    return {
        "photo": drawn.photo.file,
        "mask": InputFile("inputs/mask.png", encode_png(drawn.mask)),
        "sketch": InputFile("inputs/sketch.png", encode_png(drawn.sketch)),
    }


def _percent(part: int, total: int) -> str:
    return f"{max(1, round(100 * part / total))} %"
