from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpsdata.contracts import EnvironmentFailure, UsageError
from models.prediction.set_aside import set_aside, take_back


def make_outputs(out: Path, text: str = "a") -> Path:
    for name in ("dps", "dps-g", "scfegan"):
        (out / name / "l0").mkdir(parents=True, exist_ok=True)
        (out / name / "l0/a.png").write_text(f"{name} {text}")
    methods = {name: {"weights": {"G": text}} for name in ("dps", "dps-g", "scfegan")}
    (out / "run.json").write_text(json.dumps({"size": 64, "methods": methods}))
    return out


def methods_of(folder: Path) -> dict[str, object]:
    stored = json.loads((folder / "run.json").read_text())
    assert stored["size"] == 64
    return dict(stored["methods"])


def test_outputs_move_with_their_settings(tmp_path: Path) -> None:
    out = make_outputs(tmp_path / "out")
    folder = set_aside(out, ("dps", "dps-g"), tmp_path / "aside")
    assert folder.parent == tmp_path / "aside"
    assert methods_of(folder) == {name: {"weights": {"G": "a"}} for name in ("dps", "dps-g")}
    assert (folder / "dps/l0/a.png").read_text() == "dps a"
    assert (folder / "dps-g/l0/a.png").read_text() == "dps-g a"
    assert methods_of(out) == {"scfegan": {"weights": {"G": "a"}}}
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "scfegan"]


def test_other_settings_get_another_folder_and_nothing_is_overwritten(tmp_path: Path) -> None:
    folders = []
    for text in ("a", "b", "a"):
        make_outputs(tmp_path / "out", text)
        folders.append(set_aside(tmp_path / "out", ("dps",), tmp_path / "aside"))
    assert folders[0] == folders[2] != folders[1]
    assert sorted(path.name for path in folders[0].iterdir()) == ["dps", "dps-2", "run.json"]


def test_what_was_set_aside_comes_back(tmp_path: Path) -> None:
    out, place = make_outputs(tmp_path / "out"), tmp_path / "aside"
    folder = set_aside(out, ("dps", "dps-g"), place)
    make_outputs(out, "b")
    assert not take_back(out, "dps", {"weights": {"G": "a"}}, place), "there are outputs of this method"
    set_aside(out, ("dps", "dps-g"), place)
    assert not take_back(out, "dps", {"weights": {"G": "c"}}, place)
    assert not take_back(out, "dps", {"weights": {"G": "a"}, "levels": [0.0]}, place)
    assert not take_back(out, "dps", {"weights": {"G": "a"}}, tmp_path / "nowhere")
    assert take_back(out, "dps", {"weights": {"G": "a"}}, place)
    assert (out / "dps/l0/a.png").read_text() == "dps a"
    assert methods_of(out)["dps"] == {"weights": {"G": "a"}}
    assert set(methods_of(folder)) == {"dps-g"}
    assert (folder / "dps-g/l0/a.png").read_text() == "dps-g a"


def test_a_kill_in_the_middle_is_mended_by_the_same_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = make_outputs(tmp_path / "out")
    rename = Path.rename

    def stop_at_second(path: Path, target: Path) -> Path:
        if path.name == "dps-g":
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stop_at_second)
        with pytest.raises(KeyboardInterrupt):
            set_aside(out, ("dps", "dps-g"), tmp_path / "aside")
    assert set(methods_of(out)) == {"dps", "dps-g", "scfegan"}
    folder = set_aside(out, ("dps", "dps-g"), tmp_path / "aside")
    assert {path.name for path in folder.iterdir()} == {"dps", "dps-g", "run.json"}
    assert set(methods_of(out)) == {"scfegan"}


def test_what_cannot_be_read_or_written_ends_with_a_sentence(tmp_path: Path) -> None:
    out = make_outputs(tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailure):
        set_aside(out, ("dps",), tmp_path / "file")
    assert (out / "dps/l0/a.png").is_file()
    (out / "run.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        set_aside(out, ("dps",), tmp_path / "aside")
