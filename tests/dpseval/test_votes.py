"""Votes: the ballot in Chromium, what is counted, and intervals that cover a known preference."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dpseval
from dpsdata.contracts import MissingError, UsageError
from dpsdata.runtime.command_line import run_app
from dpsdata.weights.store import sha256_file
from dpseval import ScoreConfig
from dpseval.cli import app
from dpseval.statistics.preferences import Preferences, bradley_terry, strength_intervals, win_probability
from dpseval.votes.ballot import BallotConfig, make_ballot
from dpseval.votes.count import count_votes

CHROMIUM = Path("/usr/bin/chromium")
samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("score_samples.py"))))


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two methods, one of them at two levels: three sets."""
    built = samples.make_built(tmp_path / "built")
    outputs = samples.make_outputs(tmp_path / "out", methods=("one", "two"), levels=("l0", "l1"))
    monkeypatch.setattr("dpseval.scoring.score.load_readers", samples.fake_readers(samples.FakeNetwork()))
    dpseval.score(outputs, built, ScoreConfig(masks="dps", out=tmp_path / "report", device="cpu", use_cache=False))
    return tmp_path / "report"


def write_votes(folder: Path, voter: str, choices: dict[int, str], **changed: Any) -> Path:
    path = folder / f"votes-{voter}.json"
    votes = [{"pair": pair, "choice": choice} for pair, choice in choices.items()]
    stored = {"schema": "dps-vote-1", "study": sha256_file(folder / "key.json"), "voter": voter, "votes": votes}
    path.write_text(json.dumps({**stored, **changed}))
    return path


def test_the_ballot_is_blind_balanced_and_the_same_again(report: Path, tmp_path: Path) -> None:
    ballot = make_ballot(report, tmp_path / "vote", BallotConfig(pairs=9))
    page = ballot.page.read_text()
    bare = re.sub(r"[A-Za-z0-9+/=]{60,}", "", page)  # without the pictures
    key = json.loads(ballot.key.read_text())
    sets = [(item["method"], item["level"]) for item in key["sets"]]
    assert len(sets) == 4
    met = [frozenset((pair["a"], pair["b"])) for pair in key["pairs"]]
    assert {met.count(each) for each in set(met)} <= {1, 2}
    assert len(set(met)) == 6, "every two sets meet"
    for word in ('"one"', '"two"', ">one", ">two", "l0", *(name for name in samples.IDS if len(name) > 2)):
        assert word not in bare, "no method, level or id"
    assert "://" not in page
    before = page, ballot.key.read_bytes()
    again = make_ballot(report, tmp_path / "vote", BallotConfig(pairs=9))
    assert (again.page.read_text(), again.key.read_bytes()) == before
    with pytest.raises(UsageError, match="another ballot"):
        make_ballot(report, tmp_path / "vote", BallotConfig(pairs=9, seed=1))
    before = (report / "index.html").read_bytes()
    with pytest.raises(UsageError, match="would be lost"):
        make_ballot(report, report, BallotConfig(pairs=9))
    assert (report / "index.html").read_bytes() == before
    with pytest.raises(UsageError, match="two sets"):
        make_ballot(report, tmp_path / "one", BallotConfig(methods=("one",), levels=(0.0,)))


def test_votes_are_counted_and_join_the_report(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["vote", str(report), "-o", str(tmp_path / "vote"), "--pairs", "6", "--levels", "1"]
    assert run_app(app, words) == 0
    folder = tmp_path / "vote"
    key = json.loads((folder / "key.json").read_text())
    likes = {
        number: "a" if key["sets"][pair["a"]]["method"] == "two" else "b" for number, pair in enumerate(key["pairs"])
    }
    write_votes(folder, "x", likes)
    write_votes(folder, "y", {0: "equal"})
    assert run_app(app, ["vote", "--count", str(folder)]) == 0
    told = capsys.readouterr().out
    assert told.index("two 1: strength +") < told.index("one 1: strength -")
    stored = json.loads((report / "votes.json").read_text())
    assert [row["method"] for row in stored["sets"]] == ["two", "one"]
    assert (stored["voter_count"], stored["vote_count"]) == (2, len(likes) + 1)
    page = (report / "index.html").read_text()
    assert "Votes of people" in page
    assert f"2 voters, {len(likes) + 1} votes" in page
    (report / "scores.json").write_text((report / "scores.json").read_text() + " ")
    assert run_app(app, ["vote", "--count", str(folder)]) == 2
    assert run_app(app, ["report", str(report)]) == 0
    assert "made again since" in (report / "index.html").read_text()


def test_files_that_are_no_votes_of_this_ballot_are_refused(report: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vote"
    make_ballot(report, folder, BallotConfig(pairs=4))
    with pytest.raises(MissingError, match="no votes there"):
        count_votes([folder])
    cases: tuple[tuple[type[Exception], str, dict[str, Any]], ...] = (
        (UsageError, "another ballot", {"study": "0" * 64}),
        (MissingError, "no vote on a pair", {"votes": [{"pair": 99, "choice": "a"}]}),
        (MissingError, "no vote on a pair", {"votes": [{"pair": 0, "choice": ["a"]}]}),
        (MissingError, "no vote on a pair", {"votes": [{"pair": True, "choice": "a"}]}),
        (UsageError, "two votes on pair", {"votes": [{"pair": 0, "choice": "a"}] * 2}),
        (MissingError, "voter and a list", {"votes": {"0": "a"}}),
        (MissingError, "expected JSON", {"schema": "other"}),
    )
    for error, words, changed in cases:
        path = write_votes(folder, "x", {0: "a"}, **changed)
        with pytest.raises(error, match=words):
            count_votes([path])
    write_votes(folder, "x", {0: "a"})
    (folder / "copy.json").write_bytes((folder / "votes-x.json").read_bytes())
    with pytest.raises(UsageError, match="same voter"):
        count_votes([folder])
    assert not (report / "votes.json").exists()


def test_strengths_equal_those_of_the_textbook() -> None:
    # Two sets, 30 wins to 10: the logarithm of the odds, a little nearer to 0 by the prior.
    strengths = bradley_terry(np.array([[0, 30], [10, 0]], float))
    assert strengths[0] - strengths[1] == pytest.approx(np.log(3), abs=0.03)
    # Agresti, Categorical Data Analysis: minorisation by hand as an independent fit, without the prior.
    wins = np.array([[0, 7, 9, 7], [6, 0, 7, 5], [4, 6, 0, 7], [6, 8, 6, 0]], float) * 100
    games, power = wins + wins.T, np.ones(4)
    for _ in range(2000):
        power = wins.sum(1) / (games / (power[:, None] + power[None])).sum(1)
        power /= np.exp(np.log(power).mean())
    assert bradley_terry(wins) == pytest.approx(np.log(power), abs=1e-3)
    assert np.isfinite(bradley_terry(np.array([[0, 5], [0, 0]], float))).all()
    assert win_probability([0.0, 0.0], 0) == 0.5
    with pytest.raises(UsageError):
        bradley_terry(np.ones((2, 3)))


def simulate(draws: np.random.Generator, truth: np.ndarray, voter_count: int = 40, pair_count: int = 40) -> Preferences:
    """Voters and photos that lean by themselves, on the same pairs for all voters."""
    sets = len(truth)
    pairs = np.array([draws.choice(sets, 2, replace=False) for _ in range(pair_count)])
    photos = np.arange(pair_count) % 20
    by_photo = draws.normal(0, 0.3, (20, sets))
    voters = np.repeat(np.arange(voter_count), pair_count)
    at = np.tile(np.arange(pair_count), voter_count)
    by_voter = draws.normal(0, 0.3, (voter_count, sets))
    lean = truth + by_photo[photos[at]] + by_voter[voters]
    rows = np.arange(len(at))
    gap = lean[rows, pairs[at, 0]] - lean[rows, pairs[at, 1]]
    wins = (draws.random(len(at)) < 1 / (1 + np.exp(-gap))).astype(float)
    return Preferences(voters=voters, photos=photos[at], first=pairs[at, 0], second=pairs[at, 1], wins=wins, count=sets)


def test_intervals_of_40_voters_cover_a_known_preference() -> None:
    truth = np.array([0.8, 0.1, -0.2, -0.7])
    covered, widths = [], []
    for seed in range(12):
        own, low, high = strength_intervals(simulate(np.random.default_rng(seed), truth), seed, count=300)
        covered += list((low <= truth) & (truth <= high))
        widths += list(high - low)
        assert ((low < own) & (own < high)).all()
    assert np.mean(covered) >= 0.9
    assert np.mean(widths) < 1.2, "so narrow that the best and the worst are told apart"
    votes = simulate(np.random.default_rng(0), truth)
    first, again = (strength_intervals(votes, 3, count=200) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.is_file(), reason="Debian's chromium is not at /usr/bin/chromium")
def test_the_page_is_voted_on_in_chromium(report: Path, tmp_path: Path) -> None:
    """Forty voters of a known preference by keys, in one browser: the intervals cover it, and the files are read."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    folder = tmp_path / "vote"
    ballot = make_ballot(report, folder, BallotConfig(pairs=8, levels=(1.0,)))
    key = json.loads(ballot.key.read_text())
    better = ["a" if key["sets"][pair["a"]]["method"] == "two" else "b" for pair in key["pairs"]]
    chance = 0.75  # that a voter prefers method two
    draws = np.random.default_rng(0)
    asked: list[str] = []
    problems: list[str] = []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_context(accept_downloads=True).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(ballot.page.as_uri())
        for number in range(40):
            if number == 0:  # a mouse, a step back, and a page that is opened again
                page.click("#equal")
                page.click("#back")
                page.keyboard.press("1")
                page.wait_for_timeout(500)  # storage is written a moment later
                page.reload()
                assert page.inner_text("#place") == f"Pair 2 of {len(better)}"
                page.keyboard.press("Backspace")
            turns = page.evaluate("turns")
            keys = []
            for turn in turns:
                liked = better[turn["pair"]]
                wanted = liked if draws.random() < chance else "ab".replace(liked, "")
                keys.append("ArrowLeft" if (wanted == "a") != turn["swapped"] else "ArrowRight")
            if number < 2:
                for key_name in keys:
                    page.keyboard.press(key_name)
            else:
                page.evaluate(
                    "keys => keys.forEach((key) => dispatchEvent(new KeyboardEvent('keydown', { key })))", keys
                )
            with page.expect_download() as download:
                page.click("#done .save")
            download.value.save_as(folder / f"votes-{number}.json")
            page.evaluate("localStorage.clear()")
            page.reload()
        browser.close()
    assert problems == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
    shown = {vote["shown"] for vote in json.loads((folder / "votes-0.json").read_text())["votes"]}
    assert shown <= {"ab", "ba"}
    result = count_votes([folder])
    assert (result["voter_count"], result["vote_count"]) == (40, 40 * len(better))
    strongest = result["sets"][0]
    assert strongest["method"] == "two"
    wanted_strength = np.log(chance / (1 - chance)) / 2
    assert strongest["ci_low"] <= wanted_strength <= strongest["ci_high"]
    assert strongest["ci_low"] > 0
