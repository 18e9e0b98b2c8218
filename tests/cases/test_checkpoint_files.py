"""Checkpoints, and caches of hubs, as training programs leave them: wrapped, pickled whole, damaged, linked."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dpsdata.cli import app as dpsdata_app
from dpsdata.contracts import MissingError, UsageError
from dpsdata.dataset import BuildConfig, build_dataset
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.hed import load_hed
from dpsdata.runtime.command_line import run_app
from dpsdata.sources.layouts import find_samples
from dpsdata.weights.reading import read_state
from dpsdata.weights.store import sha256_file
from models.baselines.loading import open_weights
from models.cli import app as models_app
from models.editing.loading import load_editing_net
from models.weights.checkpoints import read_checkpoint, recognise

shared = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "models" / "tiny_weights.py")))
State = dict[str, Tensor]


def prefixed(*heads: str) -> Callable[[State], Any]:
    return lambda state: {"".join(heads) + key: value for key, value in state.items()}


def nested(*nests: str) -> Callable[[State], Any]:
    def wrap(state: State) -> Any:
        found: Any = OrderedDict(state)
        for nest in reversed(nests):
            found = {"epoch": 3, nest: found}
        return found

    return wrap


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "bare": prefixed(),
    "DataParallel": prefixed("module."),
    "torch.compile": prefixed("_orig_mod."),
    "a module's attribute": prefixed("model."),
    "compiled, then parallel": prefixed("module.", "_orig_mod."),
    "parallel, then compiled, in a trainer": prefixed("model.", "_orig_mod.", "module."),
    "a part was compiled": lambda state: {key.replace(".", "._orig_mod.", 1): value for key, value in state.items()},
    "Lightning": lambda state: nested("state_dict")(prefixed("model.")(state)),
    "timm": nested("state_dict"),
    "BasicSR": lambda state: {"params": {key: value * 0 for key, value in state.items()}, "params_ema": state},
    "timm with averages": lambda state: {
        "state_dict": {key: value * 0 for key, value in state.items()},
        "state_dict_ema": state,
    },
    "averages beside": lambda state: {"ema_state_dict": prefixed("ema_model.", "module.")(state), "model": {}},
    "a nest of nests": nested("state_dict", "model"),
    "model and optimizer": lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": []}, "args": None},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    shared.write_tiny_weights(folder)
    return folder


@pytest.mark.parametrize("name", WRAPPINGS)
def test_wrapped_checkpoints_are_read(name: str, tiny_hed: Path, tiny: Path, tmp_path: Path) -> None:
    state: State = dict(read_state(tiny_hed)[0])
    torch.save(WRAPPINGS[name](state), tmp_path / "hed.pth")
    read = load_hed(tmp_path / "hed.pth").state_dict()
    assert all(torch.equal(read[key], value) for key, value in state.items())
    path = tiny / "edit-G64.safetensors"
    found, card = read_state(path)
    state = dict(found)
    wrapped = recognise(WRAPPINGS[name](state), "x", "G64", card)
    assert all(torch.equal(wrapped.tensors[key], value) for key, value in state.items())
    torch.save(WRAPPINGS[name]({"coarse.first.weight": torch.ones(2)}), tmp_path / "baseline.pth")
    assert list(open_weights(tmp_path / "baseline.pth").shapes) == ["coarse.first.weight"]


def test_a_prefix_that_belongs_to_the_network_stays() -> None:
    """The official discriminators call all of their layers `model.N`."""
    from models.networks.config import published_config
    from models.networks.discriminator import PatchDiscriminator
    from models.weights.checkpoints import dead_shapes, official_names

    config = published_config("edit", 64).discriminator
    state = PatchDiscriminator(config).state_dict()
    official = {theirs: state[ours] for ours, theirs in official_names("D64", config).items()}
    official |= {key: torch.zeros(shape) for key, shape in dead_shapes("D", config.width).items()}
    for wrap in (prefixed(), prefixed("module."), nested("state_dict")):
        assert recognise(wrap(official), "x", "D64").network == "D64"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: {"state_dict": model.state_dict(), "hp": model}])
def test_whole_models_are_named_with_the_way_out(legacy: bool, wrap: Any, tmp_path: Path) -> None:
    module = ModuleType("somebody_train")
    trainer = type("Trainer", (nn.Linear,), {"__module__": module.__name__})
    module.Trainer = trainer  # type: ignore[attr-defined]
    path = tmp_path / "model.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)  # for pickle alone
        torch.save(wrap(trainer(2, 2)), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(MissingError, match=r"somebody_train\.Trainer.*could run code.*state_dict\(\)"):
        read_checkpoint(path)
    with pytest.raises(MissingError, match=r"somebody_train\.Trainer"):
        load_hed(path)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_torchscript_is_named(tmp_path: Path) -> None:
    torch.jit.trace(  # type: ignore[no-untyped-call]
        nn.Linear(2, 2), torch.ones(1, 2)
    ).save(str(tmp_path / "m.pt"))
    with pytest.raises(MissingError, match=r"TorchScript.*torch\.jit\.load"):
        read_checkpoint(tmp_path / "m.pt")


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(bytes(data))


def data_offset(path: Path, index: int) -> int:
    """Where the bytes of a stored tensor begin, some way in."""
    with zipfile.ZipFile(path) as archive:
        info = sorted(item for item in archive.namelist() if "/data/" in item)[index]
        header = archive.getinfo(info).header_offset
    head = path.read_bytes()[header : header + 30]
    return header + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little") + 3


@pytest.mark.parametrize("index", [0, 7, 20])
def test_a_pth_whose_check_sum_is_wrong_is_refused(index: int, tiny_hed: Path, faces: Path, tmp_path: Path) -> None:
    path = tmp_path / "hed.pth"
    torch.save(dict(read_state(tiny_hed)[0]), path)
    assert load_hed(path)
    flip(path, data_offset(path, index))
    assert torch.load(path, weights_only=True), "torch itself does not see it"
    with pytest.raises(MissingError, match=r"check sum of .*/data/"):
        load_hed(path)
    words = ["build", str(faces), str(tmp_path / "out"), "--size", "64", "--edges", str(path), "--workers", "1"]
    assert run_app(dpsdata_app, words) == 5


@pytest.fixture
def exported(tiny: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "exported"
    folder.mkdir()
    entries = {}
    for path in tiny.glob("edit-*.safetensors"):
        shutil.copy(path, folder)
        entries[path.stem] = {"file": path.name, "sha256": sha256_file(path), "size": path.stat().st_size}
    (folder / "bundled.json").write_text(json.dumps(entries))
    return folder


def test_an_exported_folder_whose_hashes_do_not_fit_is_refused(exported: Path, tmp_path: Path) -> None:
    assert load_editing_net(exported)
    path = exported / "edit-G32.safetensors"
    flip(path, path.stat().st_size - 5)
    with pytest.raises(MissingError, match=r"edit-G32.safetensors: SHA-256 .* but bundled.json beside it says"):
        load_editing_net(exported)
    for name, value in (("photo", 90), ("mask", 255), ("sketch", 0)):
        Image.new("L", (64, 64), value).convert("RGB" if name == "photo" else "L").save(tmp_path / f"{name}.png")
    words = ["edit", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "mask.png"), "--align", "none"]
    words += ["--sketch", str(tmp_path / "sketch.png"), "--weights", str(exported), "-o", str(tmp_path / "out")]
    assert run_app(models_app, words) == 5
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 3}', "[" * 3000])
def test_a_damaged_list_of_hashes_is_no_list_of_nothing(exported: Path, text: str) -> None:
    (exported / "bundled.json").write_text(text)
    with pytest.raises(MissingError, match=r"bundled.json: damaged"):
        load_editing_net(exported)


def link_as_hub(folder: Path, cache: Path) -> Path:
    """A folder as the cache of Hugging Face holds it: links by name to blobs by hash. Returns the snapshot."""
    snapshot = cache / "snapshots" / ("0" * 40)
    (cache / "blobs").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0" * 40)
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob = cache / "blobs" / sha256_file(path)
        shutil.copy(path, blob)
        link.symlink_to(Path(*[".."] * len(link.relative_to(cache).parts[:-1]), "blobs", blob.name))
    return snapshot


def test_weights_in_the_cache_of_a_hub(tiny: Path, exported: Path, tmp_path: Path) -> None:
    snapshot = link_as_hub(exported, tmp_path / "models--me--net")
    assert load_editing_net(snapshot)
    blob = (snapshot / "edit-F64.safetensors").resolve()
    flip(blob, blob.stat().st_size - 5)
    with pytest.raises(MissingError, match="SHA-256"):
        load_editing_net(snapshot)


def test_photos_in_the_cache_of_a_hub(faces: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for number, path in enumerate(sorted(faces.glob("*.png"))):
        target = plain / ("test" if number > 3 else "train") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    cache = tmp_path / "datasets--me--faces"
    snapshot = link_as_hub(plain, cache)
    expected = [sample.id for sample in find_samples(plain).samples]
    for named in (snapshot, cache):
        listing = find_samples(named)
        assert [sample.id for sample in listing.samples] == expected
        assert listing.skipped == ()
    assert len(find_samples(snapshot / "test").samples) == 2
    (snapshot / "train" / "secret.png").symlink_to(faces / "astronaut.png")
    assert [path for path, reason in find_samples(cache).skipped if "leads out" in reason] == ["train/secret.png"]
    (cache / "snapshots" / "1" / "train").mkdir(parents=True)
    assert [sample.id for sample in find_samples(cache).samples] == expected, "refs/main decides"
    (cache / "refs" / "main").unlink()
    with pytest.raises(UsageError, match="2 snapshots"):
        find_samples(cache)


def test_a_zip_in_the_cache_of_a_hub(faces: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    with zipfile.ZipFile(plain / "faces.zip", "w") as archive:
        for path in faces.glob("*.png"):
            archive.write(path, path.name)
    snapshot = link_as_hub(plain, tmp_path / "datasets--me--faces")
    for named in (snapshot, snapshot / "faces.zip"):
        assert len(find_samples(named).samples) == 6
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "faces.zip").symlink_to(plain / "faces.zip")
    (tmp_path / "other" / "a.png").write_bytes((faces / "astronaut.png").read_bytes())
    assert "leads out" in dict(find_samples(tmp_path / "other").skipped)["faces.zip"]


def test_a_built_dataset_in_the_cache_of_a_hub(faces: Path, tiny_hed: Path, tmp_path: Path) -> None:
    built = tmp_path / "built"
    build_dataset(
        BuildConfig(
            source=faces, out=built, size=64, masks=("center",), edges=str(tiny_hed), workers=1, split="ratio:1,0,0"
        )
    )
    snapshot = link_as_hub(built, tmp_path / "datasets--me--built")
    assert run_app(dpsdata_app, ["verify", str(snapshot)]) == 0
    assert len(EditDataset(snapshot, "all", masks="center")) == 6
