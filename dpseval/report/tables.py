"""`table.md` and `table.tex`: the head table for a readme and for a paper."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from dpsdata.runtime.files import write_text_atomic
from dpseval.metrics.names import REGION_NAMES
from dpseval.report.answer import HEADLINE, answer_question
from dpseval.report.head_table import (
    SETS,
    Cell,
    HeadTable,
    Row,
    build_head_table,
    explain_methods,
    missing_notes,
    split_columns,
)
from dpseval.report.svg_axes import clip_text
from dpseval.report.verdicts import Verdict, gather_verdicts

REGION_TITLES = {
    "full": "Whole image",
    "hole": "Inside the hole",
    "ring": "Ring around the hole",
    SETS: "Sets of photos: how real and how varied",
}
MARK_NOTE = (
    "★ best: paired tests (Wilcoxon, Holm's correction) show a difference from every other set. "
    "≈ no clear difference from the leader, so no set is called best. Values are given with 95 % "
    "intervals; N is the number of images."
)
_TEX_COLUMNS = 6
_TERMINAL_COLUMNS, _TERMINAL_ROWS = 5, 10
_TEX_NOTE = "★ best: paired tests show a difference from every other set. ≈ no clear difference from the leader."
# Shrinks what is wider than a column, and leaves alone what is not.
_TEX_BOX = r"\providecommand{\fitcolumn}[1]{\resizebox{\ifdim\width>\columnwidth\columnwidth\else\width\fi}{!}{#1}}"
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "★": r"$\star$",
    "≈": r"$\approx$",
    "–": "--",
    "−": "$-$",
    "∞": r"$\infty$",
}


def region_tables(scores: pd.DataFrame, verdicts: Sequence[Verdict]) -> list[HeadTable]:
    """The head table and, where there is something to say, one for the hole, the ring and the sets of photos."""
    tables = [build_head_table(scores, verdicts, region) for region in (*REGION_NAMES, SETS)]
    return [table for table in tables if table.columns]


def write_tables(folder: Path, scores: pd.DataFrame, comparisons: pd.DataFrame) -> None:
    """Write `table.md` and `table.tex` into a report.

    Args:
        folder: the REPORT folder.
        scores: the columns of `scores.csv`.
        comparisons: the columns of `dpseval.statistics.summary.comparisons`; may be empty.

    Raises:
        EnvironmentFailure: a file cannot be written.
    """
    verdicts = gather_verdicts(comparisons)
    tables = region_tables(scores, verdicts)
    answer = answer_question(verdicts)
    lead = f"{escape_markdown(answer)}\n\n" if answer else ""
    write_text_atomic(folder / "table.md", lead + format_markdown(tables))
    write_text_atomic(folder / "table.tex", format_latex(tables))


def format_markdown(tables: Sequence[HeadTable]) -> str:
    """The tables in GitHub's Markdown; names are escaped."""
    filled = [split_columns(table, len(table.columns))[0] for table in tables]
    lines = head_table_lines([table for table in filled if table.columns], "##")
    lines += [f"{MARK_NOTE} {escape_markdown(explain_methods(tables))}".rstrip(), ""]
    missing = missing_notes(tables)
    lines += ["Not measured, and why:", ""] if missing else []
    for note, names in missing:
        parts = (f"`{text}`" if is_code else escape_markdown(text) for text, is_code in split_commands(_one_line(note)))
        lines.append(f"* {', '.join(map(escape_markdown, names))}: {''.join(parts)}")
    return "\n".join(lines).rstrip() + "\n"


def split_commands(note: str) -> list[tuple[str, bool]]:
    """A note in pieces, and whether each is a command: between backticks, or of the form `dps weights ...`."""
    parts = re.split(r"`([^`]+)`|(dps weights (?:get|import)(?: [^\s;,`]+)*)", note)
    return [(part, index % 3 > 0) for index, part in enumerate(parts) if part]


def head_table_lines(tables: Sequence[HeadTable], heading: str) -> list[str]:
    """Lines of Markdown: a heading, such as `##`, and a table for each region."""
    lines = []
    for table in tables:
        heads = ["method", "level", "N", *(column.label for column in table.columns)]
        rows = [
            [escape_markdown(row.method), row.level, str(row.count), *(_markdown_cell(cell, row) for cell in row.cells)]
            for row in table.rows
        ]
        lines += [f"{heading} {REGION_TITLES[table.region]}", "", *table_lines(heads, rows), ""]
    return lines


def table_lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown, numbers to the right; the heads are escaped, cells are Markdown already."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in ([escape_markdown(head) for head in heads], rule, *rows)]


def format_latex(tables: Sequence[HeadTable]) -> str:
    """The columns that a reader looks at first, as tables that fit a column of a paper; names are escaped.

    Intervals and the other columns are left to `scores.csv`.
    """
    lines = [r"% Needs \usepackage{booktabs,graphicx}. Intervals and more metrics: scores.csv.", _TEX_BOX]
    for whole in tables:
        table = split_columns(whole, _TEX_COLUMNS)[0]
        counts = sorted({row.count for row in table.rows})
        number = f"N={counts[0]}" if len(counts) == 1 else f"N={counts[0]} to {counts[-1]}"
        lines += [
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{escape_latex(f'{REGION_TITLES[table.region]}, {number}. {_TEX_NOTE}')}}}",
            rf"\fitcolumn{{\begin{{tabular}}{{lr{'r' * len(table.columns)}}}",
            r"\toprule",
            " & ".join(["Method", "Level", *(escape_latex(column.label) for column in table.columns)]) + r" \\",
            r"\midrule",
        ]
        method = ""
        for row in table.rows:
            if method not in ("", row.method):
                lines.append(r"\addlinespace")
            method = row.method
            cells = [_latex_cell(cell) for cell in row.cells]
            lines.append(" & ".join([escape_latex(row.method), escape_latex(row.level), *cells]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""]
    for note, names in missing_notes(tables):
        lines.append(f"% {_one_line(', '.join(names))}: {_one_line(note)}")
    return "\n".join(lines).rstrip() + "\n"


def format_head(scores: pd.DataFrame, verdicts: Sequence[Verdict]) -> list[str]:
    """The best sets as lines for a terminal, of at most 100 characters; the best of the answer's metric first.

    Args:
        scores: the columns of `scores.csv`.
        verdicts: what the paired tests say.
    """
    table = split_columns(build_head_table(scores, verdicts), _TERMINAL_COLUMNS)[0]
    names = [column.metric.name for column in table.columns]
    if not names:
        return []
    place = names.index(next((name for name in HEADLINE if name in names), names[0]))
    sign = -1 if table.columns[place].metric.higher_is_better else 1
    rows = sorted(table.rows, key=lambda row: sign * row.cells[place].value if row.cells[place].text else math.inf)
    marks = {"best": " ★", "tied": " ≈", "": ""}
    lines = [("set", *(column.label for column in table.columns))]
    for row in rows[:_TERMINAL_ROWS]:
        cells = (f"{cell.text or '–'}{marks[cell.mark]}" for cell in row.cells)
        lines.append((clip_text(_one_line(str(row.key)), 24), *cells))
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    texts = [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    left = len(rows) - _TERMINAL_ROWS
    return [*texts, f"{left} more sets in scores.csv"] if left > 0 else texts


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    safe = re.sub(r"([\\`*_{}\[\]#+!|~])", r"\\\1", _one_line(text))
    return safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_TEX.get(char, char) for char in _one_line(text))


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _count_note(cell: Cell, row: Row) -> str:
    return f", N={cell.count}" if cell.count and cell.count != row.count else ""


def _markdown_cell(cell: Cell, row: Row) -> str:
    if not cell.text:
        return "weights missing" if cell.missing else "–"
    number = f"**{cell.text} ★**" if cell.mark == "best" else f"{cell.text}{' ≈' if cell.mark == 'tied' else ''}"
    return f"{number} ({cell.interval}{_count_note(cell, row)})" if cell.interval else number


def _latex_cell(cell: Cell) -> str:
    if not cell.text:
        return r"\textit{weights missing}" if cell.missing else "--"
    number = escape_latex(cell.text)
    if cell.mark == "best":
        return rf"\textbf{{{number}}}$^\star$"
    return rf"{number}$^\approx$" if cell.mark == "tied" else number
