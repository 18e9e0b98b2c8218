"""What the page asks of `dps app`: a small web application on one address, with a session for each tab."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dpsdata.contracts import DpsError, UsageError
from dpsdata.images.header import MAX_FILE_BYTES

if TYPE_CHECKING:  # torch comes in with them, and the page is up before it
    from models.app.engine import AnyEngine
    from models.app.session import EditSession

_LOG = logging.getLogger(__name__)
_MAX_TABS = 8
_HEADERS = {
    # Pictures that the page keeps as data are handed back to a server that was started again.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; connect-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_GONE = "The server does not know this tab any more."


def explain(error: Exception) -> str:
    """One sentence for any failure; the traceback of an unexpected one goes to the terminal."""
    if isinstance(error, DpsError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for this photo. Make it smaller, or close other programs."
    if isinstance(error, OSError) and error.strerror:
        return f"The server could not write or read a file: {error.strerror}. Free some space, then try again."
    _LOG.error("unexpected failure", exc_info=error)
    return f"Something unexpected went wrong ({type(error).__name__}). The terminal shows more; you can carry on."


def list_missing_weights() -> list[str]:
    """Sentences on which weights there are to get, from where, and how they come in."""
    from dpsdata.weights import list_weights

    wanted = [item for item in list_weights() if item.name.startswith("dps-edit-") and item.name[9] in "gf"]
    pages, terms = (
        "; ".join(dict.fromkeys(texts)) for texts in ([i.page for i in wanted], [i.licence for i in wanted])
    )
    return [
        f"1. Get these files from {pages}: {', '.join(item.filename for item in wanted)}. Their terms: {terms}.",
        "2. Take them in, one by one or the folder or zip that holds them: dps weights import FILE",
        "3. Start the editor again: dps app",
        "Or train a small model of your own, and name its folder: dps train tiny --data BUILT --out RUN, then "
        "dps app --weights RUN/weights",
    ]


class Studio:
    """The methods that can be run, loaded while the page is already up, and the sessions of the tabs.

    Args:
        load: returns the methods by the names that a person chooses by, the first of them an `Engine`.
    """

    def __init__(self, load: Callable[[], dict[str, AnyEngine]]) -> None:
        self._load = load
        self._loaded = threading.Event()
        self._lock = threading.Lock()
        self._engines: dict[str, AnyEngine] = {}
        self._sessions: OrderedDict[str, tuple[EditSession, threading.Lock]] = OrderedDict()
        self.error: Exception | None = None

    def start(self) -> None:
        """Load; to be called in a thread of its own."""
        try:
            self._engines = self._load()
        except Exception as error:
            self.error = error
        self._loaded.set()

    def describe(self) -> dict[str, Any]:
        """What the page says while the networks load, and what it offers afterwards."""
        if not self._loaded.is_set():
            return {"state": "loading", "message": "Loading the networks ..."}
        if self.error is not None:
            return {"state": "missing", "message": explain(self.error), "help": list_missing_weights()}
        from models.app.engine import say_limits

        methods = [
            {"name": name, "hasLevel": engine.method.has_level, "limits": say_limits(engine.method)}
            for name, engine in self._engines.items()
        ]
        return {"state": "ready", "methods": methods}

    def session(self, tab: str, is_new: bool) -> tuple[EditSession, threading.Lock]:
        """The session of a tab, and the lock to hold as long as it is used.

        Args:
            tab: its name.
            is_new: make one where there is none.

        Raises:
            KeyError: there is none.
            UsageError: there are no networks.
        """
        from models.app.session import EditSession

        self._loaded.wait()
        if self.error is not None:
            raise UsageError(explain(self.error))
        with self._lock:
            if tab not in self._sessions:
                if not is_new:
                    raise KeyError(tab)
                first = next(iter(self._engines.values()))
                self._sessions[tab] = (EditSession(first), threading.Lock())  # type: ignore[arg-type]
            self._sessions.move_to_end(tab)
            while len(self._sessions) > _MAX_TABS:
                self._sessions.popitem(last=False)
            return self._sessions[tab]

    def engine(self, name: str) -> AnyEngine:
        """A method by its name; raises UsageError where it is not offered."""
        if name not in self._engines:
            raise UsageError("This method is not offered here. Reload the page.")
        return self._engines[name]


def make_server(studio: Studio) -> Starlette:
    """The application; it answers to this machine's own names alone."""

    def answer(act: Callable[[EditSession, Request, bytes], Any], is_new: bool = False) -> Any:
        async def respond(request: Request) -> Response:
            tab = request.headers.get("x-dps-tab", "")  # a header that no page from elsewhere can send
            if not 8 <= len(tab) <= 64:
                return _refuse(400, "This request did not come from the page of dps app.")
            try:
                data = await _read_body(request)
                return await run_in_threadpool(_act, tab, request, data)
            except Exception as error:
                return _refuse(400, explain(error))

        def _act(tab: str, request: Request, data: bytes) -> Response:
            try:
                session, lock = studio.session(tab, is_new)
            except KeyError:
                return _refuse(409, _GONE)
            with lock:
                if not is_new and session.photo is None:
                    return _refuse(409, _GONE)
                found = act(session, request, data)
            return found if isinstance(found, Response) else JSONResponse(found, headers=_HEADERS)

        return respond

    def run(session: EditSession, request: Request, data: bytes) -> Any:
        return _run(studio, session, _read_json(data))

    def save(session: EditSession, request: Request, data: bytes) -> Any:
        return _save(studio, session, _read_json(data))

    routes = [
        Route("/", _page),
        Route("/web/{name}", _page),
        Route("/favicon.ico", lambda request: Response(status_code=204)),
        Route("/api/status", lambda request: JSONResponse(studio.describe(), headers=_HEADERS)),
        Route("/api/photo", answer(_open_photo, is_new=True), methods=["POST"]),
        Route("/api/sample", answer(_open_sample, is_new=True), methods=["POST"]),
        Route("/api/edit", answer(_open_edit, is_new=True), methods=["POST"]),
        Route("/api/layer", answer(_add_layer), methods=["POST"]),
        Route("/api/lines", answer(_own_lines), methods=["POST"]),
        Route("/api/face", answer(_pick_face), methods=["POST"]),
        Route("/api/run", answer(run), methods=["POST"]),
        Route("/api/save", answer(save), methods=["POST"]),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=routes, middleware=[hosts])


async def _page(request: Request) -> Response:
    name = request.path_params.get("name", "index.html")
    files = {path.name: path for path in (resources.files("models.app") / "web").iterdir()}
    kind = _TYPES.get(name.rpartition(".")[2])
    if name not in files or kind is None:
        return _refuse(404, "There is no such page.")
    return Response(files[name].read_bytes(), media_type=kind, headers=_HEADERS)


async def _read_body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > 2 * MAX_FILE_BYTES:
            raise UsageError("This file is larger than any photo. Choose a smaller one.")
    return bytes(data)


def _refuse(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status_code=status, headers=_HEADERS)


def _read_json(data: bytes) -> dict[str, Any]:
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise UsageError("The request could not be read. Reload the page.")
    return read


def _told(session: EditSession, found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "notes": session.notes}


def _open_photo(session: EditSession, request: Request, data: bytes) -> Any:
    return _told(session, session.open_photo(data, request.query_params.get("name", "photo")))


def _open_sample(session: EditSession, request: Request, data: bytes) -> Any:
    from dpsdata.samples import sample_face_file

    file = sample_face_file(1)
    content, name = file.read_bytes(), file.name
    opened = _told(session, session.open_photo(content, name))
    return {**opened, "file": base64.b64encode(content).decode(), "name": name}


def _open_edit(session: EditSession, request: Request, data: bytes) -> Any:
    name = request.query_params.get("name", "")
    if name:
        opened = session.open_edit([(name, data)])
    else:
        try:
            files = [
                (str(item["name"]), base64.b64decode(item["data"], validate=True)) for item in _read_json(data)["files"]
            ]
        except (KeyError, TypeError, binascii.Error):
            raise UsageError("The files could not be read. Choose them again.") from None
        opened = session.open_edit(files)
    assert session.photo is not None  # noqa: S101 (for the type checker)
    photo = session.photo.file
    return {**_told(session, opened), "file": base64.b64encode(photo.data).decode(), "name": photo.name.split("/")[-1]}


def _add_layer(session: EditSession, request: Request, data: bytes) -> Any:
    role = "mask" if request.query_params.get("role") == "mask" else "sketch"
    return _told(session, session.add_layer(role, data, request.query_params.get("name", role)))


def _own_lines(session: EditSession, request: Request, data: bytes) -> Any:
    return _told(session, session.own_lines(data.decode("utf-8", "replace")))


def _pick_face(session: EditSession, request: Request, data: bytes) -> Any:
    point = _read_json(data)
    try:
        x, y = float(point["x"]), float(point["y"])
    except (KeyError, TypeError, ValueError):
        raise UsageError("The point could not be read. Press again.") from None
    return {"box": session.pick_face(x, y)}


def _take(studio: Studio, session: EditSession, asked: dict[str, Any]) -> tuple[str, float]:
    """The drawing and the level that a request holds; its method is chosen."""
    try:
        drawing, level, method = str(asked["drawing"]), float(asked["level"]), str(asked["method"])
        session.exact = bool(asked["exact"])
    except (KeyError, TypeError, ValueError):
        raise UsageError("The request could not be read. Reload the page.") from None
    session.choose(studio.engine(method))
    return drawing, level


def _run(studio: Studio, session: EditSession, asked: dict[str, Any]) -> Any:
    from models.app.drawn_edit import photo_url

    drawn, patch = session.run(*_take(studio, session, asked))
    rows, columns = patch.where
    box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
    return {
        "level": patch.level,
        "url": photo_url(patch.photo, colors=drawn.photo.source.colors),
        "box": box,
        "notes": drawn.notes,
    }


def _save(studio: Studio, session: EditSession, asked: dict[str, Any]) -> Any:
    drawing, level = _take(studio, session, asked)
    session.marked = asked.get("marked") is not False
    kind = asked.get("kind")
    if kind in ("mask", "sketch"):
        name, data = f"{kind}.png", session.layer_file(drawing, kind)
    else:
        session.run(drawing, level)
        makers = {"png": session.save_photo, "jpeg": session.save_jpeg, "zip": session.save_edit}
        if kind not in makers:
            raise UsageError("This cannot be saved. Reload the page.")
        name, data = makers[kind]()
    return Response(data, media_type="application/octet-stream", headers={**_HEADERS, "X-Dps-Name": name})
