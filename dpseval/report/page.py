"""`index.html`: the whole report in one file that needs no other, no network and no script."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from dpsdata.runtime.files import write_text_atomic
from dpseval.report.answer import answer_question, draw_forests
from dpseval.report.charts import draw_bins, draw_curves, draw_trade_offs, method_styles
from dpseval.report.gallery import ERROR_TOP, StoredItem, StoredPanel, read_gallery
from dpseval.report.head_table import SHORT, explain_methods, known_metric, missing_notes, split_columns
from dpseval.report.sections import (
    SHOWN_ELSEWHERE,
    bin_tables,
    cost_rows,
    flatten_metadata,
    group_tables,
    leak_lines,
    list_leads,
    list_texts,
    verdict_rows,
    vote_rows,
    worst_cases,
)
from dpseval.report.stored import StoredReport, read_report
from dpseval.report.svg_axes import draw_key
from dpseval.report.tables import MARK_NOTE, REGION_TITLES, region_tables, split_commands, write_tables
from dpseval.report.verdicts import gather_verdicts, read_comparisons

PAGE_LIMIT_BYTES = 5_000_000
_MARGIN_BYTES = 50_000
# So many fit beside each other on a page of 1,440 px.
_HEAD_COLUMNS = 9
# How the reason of a gallery row begins that is shown under a metric.
WORST = "worst "


def draw_report(folder: Path) -> Path:
    """Draw the tables and the page of a report again, from the files that scoring wrote.

    Args:
        folder: the REPORT folder: per_image.csv, scores.csv, scores.json, run.json, gallery/.

    Returns:
        Path of `index.html`.

    Raises:
        MissingError: a file is missing or damaged.
        EnvironmentFailure: a file cannot be written.
    """
    stored = read_report(folder)
    items = read_gallery(folder)
    write_tables(folder, stored.scores, read_comparisons(stored.results))
    return _write(folder, stored, items)


def write_page(folder: Path) -> Path:
    """Write `index.html` of a report from its files; see `draw_report` for the errors."""
    return _write(folder, read_report(folder), read_gallery(folder))


def _write(folder: Path, stored: StoredReport, items: Sequence[StoredItem]) -> Path:
    metadata = _gather(folder, stored)
    bare = len(_render(metadata, [], 0).encode())
    shown, left_out = _fit(items, PAGE_LIMIT_BYTES - _MARGIN_BYTES - bare)
    path = folder / "index.html"
    write_text_atomic(path, _render(metadata, shown, left_out))
    return path


def _gather(folder: Path, stored: StoredReport) -> dict[str, Any]:
    scores = stored.scores
    verdicts = gather_verdicts(read_comparisons(stored.results))
    tables = region_tables(scores, verdicts)
    styles = method_styles(scores)
    levelled = scores.groupby("method", sort=False)["level"].apply(lambda level: bool(level.notna().any()))
    ids = stored.per_image.drop_duplicates("id")
    head, more = split_columns(tables[0], _HEAD_COLUMNS)
    others = [(REGION_TITLES[table.region], split_columns(table, len(table.columns))[0]) for table in tables[1:]]
    return {
        "name": stored.name,
        "title": _title(list(styles), len(ids)),
        "head": head,
        "tables": [(title, table) for title, table in [("More of the whole image", more), *others] if table.columns],
        "mark_note": MARK_NOTE,
        "about_methods": explain_methods(tables),
        "missing": [(names, _with_commands(note)) for note, names in missing_notes(tables)],
        "legend": [(name, Markup(draw_key(style)), bool(levelled[name])) for name, style in styles.items()],  # noqa: S704
        "levelled": bool(levelled.any()),
        "curves": draw_curves(scores),
        "trade_offs": draw_trade_offs(scores),
        "bin_charts": draw_bins(scores),
        "bin_tables": bin_tables(scores),
        "verdicts": verdict_rows(verdicts),
        "answer": answer_question(verdicts),
        "forests": draw_forests(verdicts),
        "leads": list_leads(verdicts),
        "groups": group_tables(stored.results),
        "leaks": leak_lines(stored.results),
        "costs": cost_rows(stored.run),
        "votes": vote_rows(folder),
        "worst": worst_cases(stored.per_image),
        "metadata": [
            ("What was scored, from scores.json", flatten_metadata(stored.results, SHOWN_ELSEWHERE)),
            ("The run, from run.json", flatten_metadata(stored.run, SHOWN_ELSEWHERE)),
        ],
        "warnings": [text for text in list_texts(stored.run, "warnings") if "weights missing" not in text],
        "findings": list_texts(stored.run, "findings"),
        "counts": {
            "images": len(ids),
            "methods": len(styles),
            "levels": int(scores["level"].nunique()),
        },
        "hole": (ids["hole_ratio"].min(), ids["hole_ratio"].median(), ids["hole_ratio"].max()),
        "error_top": ERROR_TOP,
    }


def _title(methods: Sequence[str], count: int) -> str:
    """What was compared, for the head of the page."""
    named = [*methods[:3], f"{len(methods) - 3} more"] if len(methods) > 4 else list(methods)
    listed = f"{', '.join(named[:-1])} and {named[-1]}" if len(named) > 1 else "".join(named)
    return f"{listed} on {count:,} photo{'s' if count != 1 else ''}"


def _read_part(name: str) -> str:
    return resources.files("dpseval.report").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _load_template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_printable
    )
    return environment.from_string(_read_part("page.html"))


def _render(metadata: dict[str, Any], items: Sequence[dict[str, Any]], left_out: int) -> str:
    script = _read_part("page.js")
    worst_items: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        if item["reason"].startswith(WORST):
            worst_items.setdefault(item["reason"], []).append(item)
    return _load_template().render(
        **metadata,
        samples=[item for item in items if not item["reason"].startswith(WORST)],
        worst_items=worst_items,
        left_out=left_out,
        css=Markup(_read_part("page.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        # The only script that the page's policy lets run, so that no name of a file can ever become one.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        markup=Markup,
    )


def _fit(items: Sequence[StoredItem], budget: int) -> tuple[list[dict[str, Any]], int]:
    """Rows of pictures for the page, samples and worst cases in turn, until the budget is spent."""
    samples = [item for item in items if not item.reason.startswith(WORST)]
    worst = [item for item in items if item.reason.startswith(WORST)]
    order = [item for pair in _turns(samples, worst) for item in pair]
    taken = set()
    for item in order:
        size = sum(_picture_bytes(item.id, panel) for panel in item.panels)
        if size <= budget:
            budget -= size
            taken.add(id(item))
    shown = [_picture_row(item) for item in items if id(item) in taken]
    return shown, len(items) - len(shown)


def _picture_bytes(name: str, panel: StoredPanel) -> int:
    # Base64, the tags, and words that come twice and grow to six times their length when they are escaped.
    return 4 * len(panel.jpeg or b"") // 3 + 300 + 12 * len(name + panel.label + panel.caption)


def _turns(first: Sequence[StoredItem], second: Sequence[StoredItem]) -> Iterable[list[StoredItem]]:
    for index in range(max(len(first), len(second))):
        yield [*first[index : index + 1], *second[index : index + 1]]


def _picture_row(item: StoredItem) -> dict[str, Any]:
    metric = known_metric(item.reason.removeprefix(WORST))
    panels = [
        {
            "label": panel.label,
            "caption": panel.caption,
            "source": f"data:image/jpeg;base64,{base64.b64encode(panel.jpeg).decode()}" if panel.jpeg else "",
        }
        for panel in item.panels
    ]
    return {
        "id": item.id,
        "reason": item.reason,
        "title": SHORT.get(metric.name, metric.title),
        "hole_ratio": item.hole_ratio,
        "panels": panels,
    }


def _with_commands(note: str) -> Markup:
    """The note with its commands in a code face."""
    pieces = ((Markup.escape(_printable(text)), is_code) for text, is_code in split_commands(note))
    return Markup("").join(Markup("<code>{}</code>").format(text) if is_code else text for text, is_code in pieces)


def _printable(value: Any) -> Any:
    """Replace control characters and lone surrogates, which have no place on a page."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "".join(char if char.isprintable() else "\ufffd" for char in value)
    return value
