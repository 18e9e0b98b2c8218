"""The files of a study's report: README.md and index.html with the same tables, and all numbers as CSV."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Final, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup

from dpsdata.runtime.files import write_text_atomic
from dpseval.metrics.names import METRICS
from dpseval.report.chart_data import chart_points
from dpseval.report.chart_forms import draw_over_level
from dpseval.report.head_table import column_decimals, format_number
from dpseval.report.svg_axes import draw_key
from dpseval.report.tables import escape_markdown
from dpseval.study.answers import QUESTIONS, Answer
from dpseval.study.config import OWN, StudyConfig

TITLE: Final = "Deep Plastic Surgery and its rivals: good and poor sketches, several kinds of holes"
_SHOWN: Final = ("psnr", "ssim", "hedps", "edge_f_drawn", "chamfer_px")
_WHOLE: Final = ("fid", "lpips_alex", "fd_hed")
FIGURE_FILE: Final = "faces.jpg"
_CURVES: Final = ("hedps", "edge_f_drawn", "psnr")


@dataclass(frozen=True)
class StudyFacts:
    """What the report states besides scores and answers.

    Attributes:
        data: dataset, splits, number of photos.
        methods: of each that ran: origin of the weights, images seen, parameters, width, inputs, licence.
        missing_methods: of each that could not run, why.
        missing: by metric, why it has no values.
        chosen: by kind of sketch, the level of Deep Plastic Surgery.
        trends: edge F over the levels, one for each cell.
        contrast: luminance in the hole as a share of the truth's, one for each cell.
    """

    data: dict[str, Any]
    methods: dict[str, Any]
    missing_methods: dict[str, str]
    missing: dict[str, str]
    chosen: dict[str, float]
    trends: list[dict[str, Any]]
    contrast: list[dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """One table of both reports.

    Attributes:
        title: heading.
        heads: of the columns.
        rows: of texts.
        note: what a reader must know.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def write_study(config: StudyConfig, facts: StudyFacts, answers: Sequence[Answer], scores: pd.DataFrame) -> None:
    """Write README.md, index.html, scores.csv and answers.csv into the folder of the report.

    Raises:
        EnvironmentFailure: a file cannot be written.
    """
    tables = [
        *_score_tables(facts, scores),
        *_answer_tables(answers),
        _trend_table(facts),
        _contrast_table(facts),
        _method_table(facts),
    ]
    write_text_atomic(config.out / "scores.csv", scores.to_csv(index=False, lineterminator="\n"))
    rows = pd.DataFrame([asdict(answer) for answer in answers])
    write_text_atomic(config.out / "answers.csv", rows.to_csv(index=False, lineterminator="\n"))
    write_text_atomic(config.out / "README.md", _markdown(config, facts, tables))
    write_text_atomic(config.out / "index.html", _page(config, facts, tables, scores))


def _intro(facts: StudyFacts) -> list[str]:
    data = facts.data
    levels = ", ".join(f"{name} {level:g}" for name, level in facts.chosen.items())
    lines = [
        f"{data['photos']} photos of {data['size']} px from the split {data['split']} of dataset "
        f"{data['root_hash'][:12]}. Distances of poor sketches are in px of a 256 px photo. Scores are means over the "
        "photos, in the hole where nothing else is said, with 95 % intervals.",
        f"The level of Deep Plastic Surgery was chosen on the split {data['choose_split']}, by the HED perceptual "
        f"distance, for each kind of sketch: {levels}.",
    ]
    if facts.missing:
        names = ", ".join(METRICS[name].title if name in METRICS else name for name in sorted(facts.missing))
        lines.append(f"Not measured, since weights are missing: {names}. They are left out, not guessed.")
    lines += [f"Not run: {name}: {reason}" for name, reason in facts.missing_methods.items()]
    return lines


class _Score(NamedTuple):
    value: float
    ci_low: float
    ci_high: float


_Set = tuple[str, float | None]


def _score_tables(facts: StudyFacts, scores: pd.DataFrame) -> list[Table]:
    wanted = [(name, "hole") for name in _SHOWN] + [(name, "full") for name in _WHOLE]
    tables = []
    for masks, sketch in scores[["masks", "sketch"]].drop_duplicates().itertuples(index=False):
        part = scores[(scores["masks"] == masks) & (scores["sketch"] == sketch)]
        columns: dict[tuple[str, str], dict[_Set, _Score]] = {}
        for name, region in wanted:
            found = _by_set(part[(part["metric"] == name) & (part["region"] == region)])
            if any(math.isfinite(score.value) for score in found.values()):
                columns[name, region] = found
        rows = []
        for method, level in _by_set(part):
            mark = " (chosen)" if method == "dps" and level == facts.chosen[str(sketch)] else ""
            cells = [
                _number(found.get((method, level)), column_decimals([score.value for score in found.values()]))
                for found in columns.values()
            ]
            rows.append((method, "–" if level is None else f"{level:g}{mark}", *cells))
        heads = tuple(
            f"{METRICS[name].title}{', whole photo' if region == 'full' else ''} {METRICS[name].arrow}"
            for name, region in columns
        )
        words = "the photo's own sketch" if sketch == OWN else f"sketch {str(sketch).replace('-', ' by ', 1)}"
        tables.append(Table(f"Masks {masks}, {words}", ("method", "level", *heads), tuple(rows)))
    return tables


def _by_set(scores: pd.DataFrame) -> dict[_Set, _Score]:
    methods, levels = scores["method"].astype(str), scores["level"].astype(float)
    keys = [(name, None if math.isnan(level) else level) for name, level in zip(methods, levels, strict=True)]
    numbers = scores[["value", "ci_low", "ci_high"]].to_numpy(float).tolist()
    return {key: _Score(*row) for key, row in zip(keys, numbers, strict=True)}


def _number(score: _Score | None, decimals: int) -> str:
    if score is None or not math.isfinite(score.value):
        return "–"
    text = format_number(score.value, decimals)
    if math.isfinite(score.ci_low):
        text += f" [{format_number(score.ci_low, decimals)}, {format_number(score.ci_high, decimals)}]"
    return text


def _answer_tables(answers: Sequence[Answer]) -> list[Table]:
    heads = (
        "masks",
        "sketch",
        "metric",
        "left",
        "right",
        "left mean",
        "right mean",
        "difference",
        "p (Holm)",
        "answer",
    )
    tables = []
    for question, text in QUESTIONS.items():
        rows = []
        for item in answers:
            if item.question == question:
                digits = 2 if item.metric == "psnr" else 4
                difference = _with_interval(item.difference, item.ci_low, item.ci_high, f"+.{digits}f")
                means = (f"{item.left_value:.{digits}f}", f"{item.right_value:.{digits}f}")
                sets = (METRICS[item.metric].title, item.left, item.right)
                rows.append((item.masks, item.sketch, *sets, *means, difference, f"{item.p_holm:.2g}", item.outcome))
        if rows:
            counts = {outcome: sum(row[-1] == outcome for row in rows) for outcome in ("yes", "no", "not separated")}
            note = (
                f"{counts['yes']} tests say yes, {counts['no']} no, {counts['not separated']} are not separated. The "
                "difference is left minus right on the same photos, in the hole."
            )
            tables.append(Table(text, heads, tuple(rows), note))
    return tables


def _with_interval(value: float, low: float, high: float, form: str) -> str:
    """One photo has no interval."""
    return f"{value:{form}}" + (f" [{low:{form}}, {high:{form}}]" if math.isfinite(low) else "")


def _trend_table(facts: StudyFacts) -> Table:
    levels = facts.trends[0]["levels"]
    rows = tuple(
        (
            item["cell"],
            str(item["n"]),
            *(f"{mean:.4f}" for mean in item["means"]),
            item["direction"] + (", every step" if item["significant"] else ""),
            _with_interval(item["span"], item["span_ci"][0], item["span_ci"][1], "+.4f"),
        )
        for item in facts.trends
    )
    heads = ("cell", "photos", *(f"level {level:g}" for level in levels), "direction", "last minus first level")
    note = "Deep Plastic Surgery. `every step` where each step is significant by itself (Wilcoxon, Holm)."
    return Table("Edge F of the output against the drawn sketch, over the level", heads, rows, note)


def _contrast_table(facts: StudyFacts) -> Table:
    rows = tuple(
        (
            item["cell"],
            f"{item['level']:g}",
            str(item["n"]),
            _with_interval(item["mean"], item["ci_low"], item["ci_high"], ".3f"),
            f"{item['ratio_of_means']:.3f}",
        )
        for item in facts.contrast
        if item["n"]
    )
    note = "Standard deviation of the luminance in the hole, as a share of the truth's: 0 is a constant hole."
    return Table("Contrast in the hole", ("cell", "level", "photos", "mean share", "ratio of means"), rows, note)


def _method_table(facts: StudyFacts) -> Table:
    rows = []
    for name, about in facts.methods.items():
        seen, width = about["images_seen"], about["width"]
        reduced = "–" if width is None else f"{width} of {about['published_width']}"
        rows.append(
            (
                name,
                str(about["origin"]),
                "–" if seen is None else f"{seen:,}",
                f"{about['parameter_count']:,}",
                reduced,
                str(about["reads"]),
                str(about["licence"]),
            )
        )
    heads = ("method", "weights", "images seen", "parameters", "width of published", "inputs", "licence")
    return Table("What was compared", heads, tuple(rows))


def _markdown(config: StudyConfig, facts: StudyFacts, tables: Sequence[Table]) -> str:
    lines = [f"# {TITLE}", "", *(f"{text}\n" for text in _intro(facts))]
    if config.shown:
        lines += [f"![{_FIGURE_TEXT}]({FIGURE_FILE})", "", f"{_FIGURE_TEXT}", ""]
    lines += ["All numbers: [scores.csv](scores.csv), [answers.csv](answers.csv), [study.json](study.json); charts: "]
    lines += ["[index.html](index.html).", ""]
    for table in tables:
        lines += [f"## {table.title}", ""]
        if table.note:
            lines += [table.note, ""]
        lines.append("| " + " | ".join(map(escape_markdown, table.heads)) + " |")
        lines.append("|" + " --- |" * len(table.heads))
        lines += ["| " + " | ".join(map(escape_markdown, row)) + " |" for row in table.rows]
        lines.append("")
    return "\n".join(lines)


_FIGURE_TEXT: Final = "Photo, hole with the sketch that was given, and what the methods paint."


def _page(config: StudyConfig, facts: StudyFacts, tables: Sequence[Table], scores: pd.DataFrame) -> str:
    masks = config.cells[0].masks
    mine = scores[(scores["method"] == "dps") & (scores["region"] == "hole") & (scores["masks"] == masks)]
    styles = {str(sketch): index for index, sketch in enumerate(dict.fromkeys(mine["sketch"]))}
    curves = mine.assign(method=mine["sketch"], bin="all")
    charts = [draw_over_level(METRICS[name], chart_points(curves, name), styles) for name in _CURVES]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_read("dpseval.study", "study.html"))
    figure = config.out / FIGURE_FILE
    return template.render(
        title=TITLE,
        intro=[*_intro(facts), f"The charts show Deep Plastic Surgery with masks {masks}, a line for each sketch."],
        figure=_data_url(figure.read_bytes()) if config.shown else "",
        figure_text=_FIGURE_TEXT,
        legend=[(name, Markup(draw_key(style))) for name, style in styles.items()],  # noqa: S704 - our own drawing
        charts=charts,
        tables=tables,
        css=Markup(_read("dpseval.report", "page.css")),  # noqa: S704 - our own file
        markup=Markup,
    )


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
