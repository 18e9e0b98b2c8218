"""What the page does on every press: calls the session, and says in words what went wrong."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from dpsdata.contracts import DpsError, UsageError
from models.app import fragments
from models.app.baselines import AnyEngine, RivalEngine
from models.app.drawn_edit import DrawnEdit
from models.app.engine import Engine
from models.app.method_words import name_button, name_editors, name_rival, say_limits
from models.app.sample import read_sample
from models.app.session import LEVELS, EditSession

_LOG = logging.getLogger(__name__)
_KEEP_S = 600.0


def explain(error: Exception) -> str:
    """One sentence for any failure; the traceback of an unexpected one goes to the terminal."""
    if isinstance(error, DpsError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for this photo. Make it smaller, or close other programs."
    if isinstance(error, OSError) and error.strerror:
        return f"The machine is in the way: {error.strerror}. Free some space, then try again."
    _LOG.error("unexpected failure", exc_info=error)
    return f"Something unexpected went wrong ({type(error).__name__}). The terminal shows more; you can go on."


class SessionSeed:
    """What Gradio copies for each tab; the copy is a new session.

    Args:
        make: makes a session.
    """

    def __init__(self, make: Callable[[], EditSession]) -> None:
        self._make = make

    def __deepcopy__(self, memo: dict[int, Any]) -> EditSession:
        return self._make()


class PageEvents:
    """Handlers of the page's events; each answers with what its outputs show.

    Args:
        editors: Deep Plastic Surgery by the name of its weights; the first is the default.
        rivals: other methods that have weights.
        folder: for files on their way to the browser; kept for minutes.

    Attributes:
        engines: all of them by the names that a person chooses by.
        methods: these names.
    """

    def __init__(self, editors: dict[str, Engine], rivals: Iterable[RivalEngine], folder: Path) -> None:
        self._first = next(iter(editors.values()))
        self.engines: dict[str, AnyEngine] = dict(zip(name_editors(editors), editors.values(), strict=True))
        self.engines |= {name_rival(rival.method): rival for rival in rivals}
        self.methods = list(self.engines)
        self._folder = folder
        self._gr: Any = import_module("gradio")

    def new_session(self) -> EditSession:
        """One for each tab."""
        return EditSession(self._first)

    def choose_method(self, session: EditSession, name: str) -> tuple[Any, ...]:
        """Another method was chosen: the page gets its words and its button, and results of the one before go."""
        update = self._gr.update
        session.choose(self.engines[name])
        method = session.engine.method
        return (
            fragments.show_notes(say_limits(method)),
            update(visible=session.shown is not None),
            fragments.choice_head(method),
            fragments.show_slider(method, session.level),
            update(visible=method.refines),
            name_button(method),
        )

    def open_photo(self, session: EditSession, path: str | None) -> Iterator[tuple[Any, ...]]:
        """A photo was dropped."""
        for shown in self._open(lambda: session.open_photo(*_take_file(path)), session):
            yield (*shown, None)

    def open_sample(self, session: EditSession) -> Iterator[tuple[Any, ...]]:
        """The sample was asked for."""
        yield from self._open(lambda: session.open_photo(*read_sample()), session)

    def open_edit(self, session: EditSession, paths: list[str] | str | None) -> Iterator[tuple[Any, ...]]:
        """A saved edit was chosen."""
        chosen = [paths] if isinstance(paths, str) else list(paths or [])
        files = (_take_file(path) for path in chosen)
        yield from self._open(lambda: session.open_edit((name, data) for data, name in files), session)

    def add_layer(self, role: str, session: EditSession, path: str | None) -> tuple[Any, Any]:
        """A mask or a sketch was uploaded."""
        try:
            layer = session.add_layer(role, *_take_file(path))
        except Exception as error:
            return fragments.show_error(explain(error)), None
        return fragments.show_notes(session.notes), layer

    def show_levels(
        self, session: EditSession, drawing: str, with_refined: bool, method: str | None
    ) -> Iterator[tuple[Any, ...]]:
        """Show levels was pressed: the five levels appear one by one, or the one result of a method without levels."""
        update, skip = self._gr.update, self._gr.skip()
        is_free = update(interactive=True)
        try:
            session.choose(self.engines[method or self.methods[0]])
            drawn = session.draw(drawing)
            used = drawn.engine.method
            levels = LEVELS if used.has_level else (session.level,)
            figures: list[str] = []
            for level in levels:
                busy = fragments.show_busy(fragments.say_step(used, len(figures), len(levels)), drawn.notes)
                strip = fragments.show_strip(drawn, figures, LEVELS)
                yield busy, update(visible=True), strip, skip, skip, update(interactive=False)
                figures.append(fragments.show_figure(drawn, session.run_level(drawn, level)))
                if _is_past(drawn, session):
                    yield skip, skip, skip, skip, skip, is_free
                    return
            session.shown = drawn
            result = fragments.show_result(drawn, session.run_level(drawn, session.level), with_refined)
        except Exception as error:
            is_shown = update(visible=session.shown is not None)
            yield fragments.show_error(explain(error)), is_shown, skip, skip, skip, is_free
            return
        strip = fragments.show_strip(drawn, figures, LEVELS)
        notes, slider = fragments.show_notes(drawn.notes), fragments.show_slider(used, session.level)
        yield notes, update(visible=True), strip, slider, result, is_free

    def show_level(self, session: EditSession, level: str, with_refined: bool) -> tuple[Any, Any]:
        """The slider was moved, or the refined sketch asked for."""
        try:
            if session.engine.method.has_level:
                session.move(float(level))
            drawn, patch = session.current()
            return fragments.show_notes(drawn.notes), fragments.show_result(drawn, patch, with_refined)
        except Exception as error:
            return fragments.show_error(explain(error)), self._gr.skip()

    def save_layer(self, role: str, session: EditSession, drawing: str) -> tuple[Any, Any]:
        """The mask or the sketch as PNG."""
        return self._save(lambda: (f"{role}.png", session.layer_file(drawing, role)))

    def save_photo(self, session: EditSession, drawing: str) -> tuple[Any, Any]:
        """The result as PNG."""
        return self._save(session.save_photo)

    def save_edit(self, session: EditSession, drawing: str) -> tuple[Any, Any]:
        """The edit folder as zip."""
        return self._save(session.save_edit)

    def _open(self, opens: Callable[[], dict[str, Any]], session: EditSession) -> Iterator[tuple[Any, ...]]:
        skip = self._gr.skip()
        yield fragments.show_busy("Opening ..."), skip, skip, skip
        try:
            opened = opens()
        except Exception as error:
            yield fragments.show_error(explain(error)), skip, skip, skip
            return
        slider = fragments.show_slider(session.engine.method, session.level)
        yield fragments.show_notes(session.notes), opened, self._gr.update(visible=False), slider

    def _save(self, make: Callable[[], tuple[str, bytes]]) -> tuple[Any, Any]:
        try:
            name, data = make()
            self._sweep()
            place = self._folder / secrets.token_hex(8)
            place.mkdir(parents=True)
            (place / name).write_bytes(data)
        except Exception as error:
            return fragments.show_error(explain(error)), None
        return fragments.show_notes([f"{name} is in your downloads folder."]), str(place / name)

    def _sweep(self) -> None:
        """Files that the browser has long fetched."""
        oldest = time.time() - _KEEP_S
        for path in self._folder.glob("*/*"):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)


def _is_past(drawn: DrawnEdit, session: EditSession) -> bool:
    """Whether another photo was opened or another method chosen while it ran."""
    return drawn.photo is not session.photo or drawn.engine is not session.engine


def _take_file(path: str | None) -> tuple[bytes, str]:
    """Content and name of an upload, whose copy on the disk goes."""
    if not path:
        raise UsageError("No file came. Choose it again.")
    upload = Path(path)
    data = upload.read_bytes()
    upload.unlink(missing_ok=True)
    return data, upload.name
