from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from dpsdata.contracts import UsageError
from models.app.edit_folder import open_edit, pack_edit
from models.editing.request import EditRequest, InputFile


def contents() -> dict[str, bytes]:
    from dataclasses import asdict

    inputs = {role: InputFile(f"inputs/{role}.png", role.encode()) for role in ("photo", "mask", "sketch")}
    run = {
        "schema_version": 1,
        "config": asdict(EditRequest("edit", (0.5,), "W")),
        "inputs": {role: {"file": item.name, "sha256": item.sha256} for role, item in inputs.items()},
        "weights": {"F64": "a"},
        "versions": {},
    }
    return {item.name: item.data for item in inputs.values()} | {
        "l0.5.png": b"result",
        "run.json": json.dumps(run).encode(),
    }


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def test_a_packed_edit_is_the_same_bytes_and_comes_back() -> None:
    data = pack_edit(contents(), "me-edit")
    assert data == pack_edit(contents(), "me-edit")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {name: archive.read(f"me-edit/{name}") for name in contents()} == contents()
    for files in ([("any.zip", data)], [(Path(name).name, content) for name, content in contents().items()]):
        stored = open_edit(files)
        assert stored.request.levels == (0.5,)
        assert {role: item.data for role, item in stored.inputs.items()} == {
            role: role.encode() for role in ("photo", "mask", "sketch")
        }


def test_paths_in_a_zip_are_never_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = contents()
    evil = {f"../../../{tmp_path}/x/{name}": data for name, data in files.items()} | {"/etc/evil": b"x", "..\\y": b"x"}
    assert open_edit([("z.zip", zipped(evil))]).request.levels == (0.5,)
    assert list(tmp_path.iterdir()) == []


def test_links_and_doubles(tmp_path: Path) -> None:
    link = io.BytesIO()
    with zipfile.ZipFile(link, "w") as archive:
        for name, data in contents().items():
            entry = zipfile.ZipInfo(f"e/{name}")
            entry.external_attr = (0o120777 if name == "inputs/mask.png" else 0o100644) << 16
            archive.writestr(entry, data)
    with pytest.raises(UsageError, match="cannot be opened"):
        open_edit([("z.zip", link.getvalue())])
    doubled = {f"{folder}/{name}": data for folder in "ab" for name, data in contents().items()}
    with pytest.raises(UsageError, match="one at a time"):
        open_edit([("z.zip", zipped(doubled))])


def test_too_much_in_a_zip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.app.edit_folder.MAX_FILE_BYTES", 50_000)
    bomb = contents() | {"inputs/photo.png": bytes(60_000)}
    with pytest.raises(UsageError, match="larger than any photo"):
        open_edit([("z.zip", zipped(bomb))])
    two = contents() | {"inputs/photo.png": bytes(40_000), "inputs/mask.png": bytes(40_000)}
    with pytest.raises(UsageError, match="larger than any edit"):
        open_edit([("z.zip", zipped(two))])
    monkeypatch.setattr("models.app.edit_folder._MAX_MEMBERS", 3)
    with pytest.raises(UsageError, match="more files"):
        open_edit([("z.zip", zipped(contents()))])


def test_changed_missing_and_foreign_files() -> None:
    with pytest.raises(UsageError, match="not a readable zip"):
        open_edit([("z.zip", b"hello")])
    with pytest.raises(UsageError, match=r"no run\.json"):
        open_edit([("z.zip", zipped({"a.txt": b"x"}))])
    with pytest.raises(UsageError, match=r"no run\.json"):
        open_edit([])
    with pytest.raises(UsageError, match="SHA-256"):
        open_edit([("z.zip", zipped(contents() | {"inputs/mask.png": b"other"}))])
    with pytest.raises(UsageError, match="cannot be opened") as caught:
        open_edit([("z.zip", zipped({"run.json": contents()["run.json"]}))])
    assert "/tmp" not in str(caught.value)
