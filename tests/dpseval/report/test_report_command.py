"""`dpseval report`: exit codes and sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from dpsdata.runtime.command_line import run_app
from dpseval.cli.report import report_command


@pytest.fixture
def app() -> typer.Typer:
    room = typer.Typer(rich_markup_mode=None)
    room.command("report")(report_command)

    @room.command("other")
    def other() -> None:
        """With one command alone, typer takes no name."""

    return room


def test_it_draws_and_says_where(app: typer.Typer, own_report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, ["report", str(own_report)]) == 0
    assert capsys.readouterr().out.startswith(f"{own_report / 'index.html'} (0.")
    assert {path.name for path in own_report.iterdir()} >= {"index.html", "table.md", "table.tex"}


@pytest.mark.parametrize("damage", ["scores.csv", "per_image.csv"])
def test_damage_exits_with_5(
    app: typer.Typer, own_report: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    (own_report / damage).write_text("nothing,of,the,kind\n1,2,3,4\n")
    assert run_app(app, ["report", str(own_report)]) == 5
    said = capsys.readouterr().err.strip()
    assert damage in said
    assert len(said.splitlines()) == 1
    assert run_app(app, ["report", str(own_report / "nowhere")]) == 5
