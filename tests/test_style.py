"""One voice: phrases that no native speaker of English would write, in what users read.

`make lint` runs it beside codespell. A rule is a pattern and what to write instead; add one where a reader stumbled.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RULES = {
    r"in the place of": "instead of",
    r"what there is\]": "the best installed weights",
    r"(command|run|study|training|build) there goes on|same command( line)? goes on|to go on,": "resumes",
    r"where an interrupted one stopped": "resumes",
    r"\bso many\b": "N, or this many",
    r"\b(is|are) to be (mended|had)\b|\bmends\b": "fixes",
    r"\bhad by its name\b|\bcould not be had\b": "is available, is not available",
    r"\banew\b": "again, or start over",
    r"\b(lies|lie) (in|inside|outside|beside)\b": "is, are",
    r"\bof nobody\b": "of people who do not exist",
    r"; 0 for one a core": "one per core",
    r"with commas between|, with commas\.": "comma-separated",
    r"; say --": "pass --",
    r"\bpaints? is soft\b": "the result is soft",
    r"takes what lies on disk|a training goes in runs|cost with good": "the plain sentence",
    r"\bas said (above|below)\b": "as described",
    r"\b(is|are) none of (this|the|its)\b": "is not one of, is not in",
    r"\b(is|so) no (file|name|plain|part|line drawing|checkpoint)\b": "is not a",
    r"\bof then\b": "original",
    r"\b(one|process|processes) an? (core|GPU|actor)\b": "one per core",
    r"\b(knows|tells?) (no|which|of)\b|\bnothing tells\b": "does not know, says, reports",
    r"\bby (that|the same) command\b": "with the command",
    r"\bgo(es)? on from\b": "continues from, starts from",
    r"\bdeal (them|all)\b": "assign at random",
    r"\b(is|are) of (another|no) (program|report|export|run)\b": "belongs to",
    r"\bby chance with\b|\bin dots of one colour is\b|\bas a photo is none\b": "the plain sentence",
    r"\bwhat is to (be|change)\b": "what should",
    r"\bthe hours did not suffice\b|\bthe floor of every\b|\bthe photos and what is\b": "the plain sentence",
    r"\b(rivals?|critics|disturbed|disturbs)\b": "baseline, discriminator, perturb",
}


def _read() -> Iterator[tuple[str, str]]:
    """Name and text of each page and each message: string constants of the programs, but no docstrings of functions."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    for room in ("dpsdata", "models", "dpseval"):
        pages += [*sorted((ROOT / room).rglob("*.md")), *sorted((ROOT / room).rglob("*.html"))]
        for path in sorted((ROOT / room).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            is_cli = "cli" in path.parts
            for node in ast.walk(tree):
                body = getattr(node, "body", None)
                if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and not is_cli:
                    body.pop(0)
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value
    for path in (
        *pages,
        ROOT / "reports/README.md",
        ROOT / "reports/benchmarks/README.md",
        ROOT / "reports/journeys.md",
    ):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def test_one_voice() -> None:
    found = [
        f"{name}: {match[0]!r}: write {better}"
        for name, text in _read()
        for pattern, better in RULES.items()
        if (match := re.search(pattern, " ".join(text.split()), re.IGNORECASE))
    ]
    assert not found, "\n".join(found)
