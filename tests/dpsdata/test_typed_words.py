"""What people type: lists, numbers, levels, paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpsdata.contracts import UsageError, parse_levels, split_words, typed_path


def test_words_are_taken_once_in_their_order() -> None:
    assert split_words(" b, a,,b ,c") == ("b", "a", "c")
    assert split_words(" , ") == ()


@pytest.mark.parametrize("text", ["", "0,x", "0,,1", "nan", "inf", "1.5", "-0.1"])
def test_wrong_levels_are_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="level"):
        parse_levels(text)


def test_levels_are_taken_once() -> None:
    assert parse_levels("1, 0,0.25,1") == (1.0, 0.0, 0.25)


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert typed_path("~/a") == typed_path("a") == tmp_path / "a"


def test_the_home_of_nobody_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="write the path in full"):
        typed_path("~nobody-has-this-name/x")
