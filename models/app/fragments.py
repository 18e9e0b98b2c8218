"""Pieces of the page as HTML text: messages, the strip of levels, one result, the page without weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from dpsdata.weights import list_weights
from models.app.drawn_edit import DrawnEdit, LevelPatch
from models.app.method_words import say_limits
from models.app.previews import grey_url, photo_url
from models.methods.registry import Method

_STRIP_PX, _RESULT_PX = 320, 720
_WORDS = {0.0: "follows my line", 1.0: "corrects my line"}
HEAD = """<div class="dps-head"><h1>Deep Plastic Surgery</h1>
<p>Paint a hole, draw a line, choose how closely it is followed.</p>
<span class="dps-private">Nothing leaves this machine.</span></div>"""


def step_head(title: str, hint: str) -> str:
    """The heading of a part of the page."""
    return f'<h2 class="dps-step">{escape(title)}</h2><p class="dps-hint">{escape(hint)}</p>'


def choice_head(method: Method) -> str:
    """The heading of the results."""
    if method.has_level:
        return step_head("4  Choose a level", "Press a picture, or move the slider to any level between.")
    return step_head("4  Look at the result", " ".join(say_limits(method)))


def say_step(method: Method, index: int, count: int) -> str:
    """What is being done, of `count` steps."""
    return f"Level {index + 1} of {count} ..." if method.has_level else f"{method.title} ..."


def show_notes(notes: Iterable[str]) -> str:
    """Sentences that are no failure."""
    return _status("".join(f"<p>{escape(note)}</p>" for note in notes))


def show_error(sentence: str) -> str:
    """What went wrong."""
    return _status(f'<p class="dps-error" role="alert">{escape(sentence)}</p>')


def show_busy(sentence: str, notes: Iterable[str] = ()) -> str:
    """What is being done."""
    lines = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return _status(f'<p class="dps-busy">{escape(sentence)}</p>{lines}')


def show_figure(drawn: DrawnEdit, patch: LevelPatch) -> str:
    """One of the results side by side; a press on it moves the slider there. Empty of a method without a level."""
    if patch.level is None:
        return ""
    url = photo_url(patch.look(drawn.photo.pixels, drawn.region), _STRIP_PX, drawn.photo.source.colors)
    return (
        f'<button type="button" data-level="{patch.level:g}" title="Look at level {patch.level:g}">'
        f'<img alt="Result at level {patch.level:g}" src="{url}"></button>'
    )


def show_strip(drawn: DrawnEdit, figures: Sequence[str], levels: Sequence[float]) -> str:
    """Results side by side; those that are still to come are empty frames. Empty of a method without a level."""
    if not drawn.engine.method.has_level:
        return ""
    rows, columns = drawn.region
    shape = f"{columns.stop - columns.start} / {rows.stop - rows.start}"
    parts = []
    for index, level in enumerate(levels):
        figure = figures[index] if index < len(figures) else '<div class="dps-wait"></div>'
        caption = f"{level:g}<span>{_WORDS.get(level, '&nbsp;')}</span>"
        parts.append(f'<figure class="dps-level">{figure}<figcaption>{caption}</figcaption></figure>')
    return f'<div class="dps-strip" style="--shape: {shape}">{"".join(parts)}</div>'


def show_slider(method: Method, level: float) -> str:
    """The slider for any level; empty of a method without one."""
    if not method.has_level:
        return ""
    return (
        '<label class="dps-slide"><span class="dps-low">0 follows my line</span>'
        f'<input type="range" min="0" max="1" step="0.01" value="{level:g}" aria-label="Refinement level">'
        f'<span class="dps-high">1 corrects my line</span><output>{level:.2f}</output></label>'
    )


def show_result(drawn: DrawnEdit, patch: LevelPatch, with_sketch: bool) -> str:
    """One result: before and after under a cut that moves, and the refined sketch where it is asked for."""
    region = drawn.region
    before = photo_url(drawn.photo.pixels[region], _RESULT_PX, drawn.photo.source.colors)
    after = photo_url(patch.look(drawn.photo.pixels, region), _RESULT_PX, drawn.photo.source.colors)
    made = drawn.engine.method.title if patch.level is None else f"level {patch.level:g}"
    parts = [
        '<div class="dps-looks"><div class="dps-compare"><div class="dps-pair">'
        f'<img alt="Before" src="{before}">'
        f'<img class="dps-after" alt="After, {escape(made)}" src="{after}"></div>'
        '<label><span>Before</span><input type="range" min="0" max="100" value="50" aria-label="Before and after">'
        "<span>After</span></label></div>"
    ]
    refined = patch.look_refined(region) if with_sketch else None
    if refined is not None:
        parts.append(
            f'<figure class="dps-refined"><img alt="Refined sketch" src="{grey_url(refined, _RESULT_PX)}">'
            f"<figcaption>Refined sketch at {made}</figcaption></figure>"
        )
    return "".join(parts) + "</div>"


def show_missing(reason: str) -> str:
    """The page where there are no weights: which files, where from, how they come in."""
    wanted = [item for item in list_weights() if item.name.startswith("dps-edit-") and item.name[9] in "gf"]
    files = "".join(
        f"<li><code>{escape(item.filename)}</code> {escape(item.purpose)}<br><small>"
        f"size: {'not published' if item.size is None else f'{item.size:,} bytes'}; "
        f"SHA-256: {escape(item.sha256 or 'not published, so it is recorded on import')}</small></li>"
        for item in wanted
    )
    pages, terms = (
        "; ".join(dict.fromkeys(escape(text) for text in texts))
        for texts in ([item.page for item in wanted], [item.licence for item in wanted])
    )
    sentence = escape(reason[:1].upper() + reason[1:])
    return f"""<div class="dps-missing"><h2 class="dps-step">There are no weights yet, so nothing can be edited</h2>
<p class="dps-hint">{sentence}</p>
<p>1. Get these files from <strong>{pages}</strong>:</p>
<ul>{files}</ul>
<p>Their terms: {terms}.</p>
<p>2. Take them in, one by one or the folder or zip that holds them:</p>
<pre>dps weights import ~/Downloads/FILE</pre>
<p>3. Start the editor again:</p>
<pre>dps app</pre>
<p>Or train a small model of your own, and name its folder:</p>
<pre>dps train tiny --data BUILT --out RUN
dps app --weights RUN/weights</pre></div>"""


def _status(lines: str) -> str:
    return f'<div class="dps-status" role="status" aria-live="polite">{lines}</div>'
