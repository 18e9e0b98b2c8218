from __future__ import annotations

import json
import runpy
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import models  # noqa: F401 (registers the files)
from dpsdata import weights
from dpsdata.contracts import MissingError, UsageError
from dpsdata.runtime.command_line import run_app
from dpsdata.weights.store import read_card
from models.baselines.official import (
    DEEPFILLV2_CELEBA_HQ,
    DEEPFILLV2_CUSTOM,
    DEEPFILLV2_NAMES,
    DEEPFILLV2_PLACES2,
    SCFEGAN,
    training_set_in_name,
)
from models.cli import app

TESTS = Path(__file__).resolve().parents[2]
VARIABLES = TESTS.parent.parent / "shared" / "parity" / "baselines" / "expected_tf_variables.json"
w = SimpleNamespace(**runpy.run_path(str(TESTS / "parity" / "write_bundle.py")))


def deepfill_shapes() -> dict[str, tuple[int, ...]]:
    """The published names and shapes, written out by hand, not from the networks' code."""
    first = {"conv1": (5, 5, 48), "conv2_downsample": (3, 24, 96), "conv3": (3, 48, 96)}
    first |= {"conv4_downsample": (3, 48, 192)} | {f"conv{n}": (3, 96, 192) for n in (5, 6, 11, 12)}
    first |= {f"conv{n}_atrous": (3, 96, 192) for n in (7, 8, 9, 10)}
    tail = {"conv13_upsample": (3, 96, 96), "conv14": (3, 48, 96), "conv15_upsample": (3, 48, 48)}
    tail |= {"conv16": (3, 24, 24), "conv17": (3, 12, 3)}
    second = {"xconv1": (5, 3, 48), "xconv2_downsample": (3, 24, 48), "xconv3": (3, 24, 96)}
    second |= {"xconv4_downsample": (3, 48, 96), "xconv5": (3, 48, 192), "xconv6": (3, 96, 192)}
    second |= {f"xconv{n}_atrous": (3, 96, 192) for n in (7, 8, 9, 10)}
    second |= {"pmconv1": (5, 3, 48), "pmconv2_downsample": (3, 24, 48), "pmconv3": (3, 24, 96)}
    second |= {"pmconv4_downsample": (3, 48, 192)} | {f"pmconv{n}": (3, 96, 192) for n in (5, 6, 9, 10)}
    second |= {"allconv11": (3, 192, 192), "allconv12": (3, 96, 192)}
    second |= {f"all{name}": sizes for name, sizes in tail.items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (side, before, after) in (first | tail | second).items():
        path = f"inpaint_net/{name}/{name}_conv" if name.endswith("_upsample") else f"inpaint_net/{name}"
        shapes |= {f"{path}/kernel": (side, side, before, after), f"{path}/bias": (after,)}
    return shapes


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(1)
    return {name: numbers.standard_normal(shape, np.float32) for name, shape in shapes.items()}


DEEPFILL = filled(deepfill_shapes())


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the authors share it, with discriminator, optimiser slots and the text file beside."""
    folder = tmp_path_factory.mktemp("deepfill") / "release_places2_256_deepfill_v2"
    more = {
        "global_step": np.int64(1),
        "beta1_power": np.float32(0.5),
        "discriminator/sn_patch_gan/conv1/kernel": np.zeros((5, 5, 4, 64), np.float32),
        "inpaint_net/conv1/kernel/Adam": np.zeros((5, 5, 5, 48), np.float32),
    }
    w.write_bundle(folder / "snap-0", {**DEEPFILL, **{name: np.asarray(value) for name, value in more.items()}})
    (folder / "checkpoint").write_text('model_checkpoint_path: "snap-0"\n')
    (folder / "snap-0.meta").write_bytes(b"\x0a\x03abc")
    return folder


def check_tensors(path: Path, wanted: dict[str, np.ndarray]) -> None:
    with safe_open(path, framework="np") as archive:
        assert set(archive.keys()) == set(wanted)
        for name, array in wanted.items():
            assert np.array_equal(archive.get_tensor(name), array), name


@pytest.mark.parametrize("what", ["folder", "prefix", "index", "data", "zip", "tar"])
def test_a_release_is_imported_from_any_form(what: str, release: Path, tmp_path: Path) -> None:
    paths = {"folder": release, "prefix": release / "snap-0", "index": release / "snap-0.index"}
    paths["data"] = release / "snap-0.data-00000-of-00001"
    if what == "zip":  # files at its root: only the archive's name tells what they are
        paths["zip"] = tmp_path / f"{release.name}-20260101T0101.zip"
        with zipfile.ZipFile(paths["zip"], "w") as archive:
            for path in release.iterdir():
                archive.write(path, path.name)
    if what == "tar":
        paths["tar"] = tmp_path / "mail.tar"
        with tarfile.open(paths["tar"], "w") as archive:
            archive.add(release, release.name)
    report = weights.import_weights(paths[what])
    assert [done.name for done in report.installed] == [DEEPFILLV2_PLACES2]
    assert {label.rsplit("/", 1)[-1] for label, _ in report.skipped} <= {"checkpoint"}
    check_tensors(weights.weights_path(DEEPFILLV2_PLACES2), DEEPFILL)
    card = read_card(DEEPFILLV2_PLACES2)
    assert card is not None
    assert (card["tensor_count"], card["parameter_count"], card["tensors_left_out"]) == (84, 4_052_478, 4)
    assert card["licence"].startswith("CC BY-NC 4.0")
    assert len(card["data_sha256"]["snap-0.data-00000-of-00001"]) == 64


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/release_places2_256_deepfill_v2/snap-0", DEEPFILLV2_PLACES2),
        ("a/release_celeba_hq_256_deepfill_v2/snap-0", DEEPFILLV2_CELEBA_HQ),
        ("a/places/CelebA-HQ.snap", DEEPFILLV2_CELEBA_HQ),  # the nearest name counts
        ("places2/weights/snap-0", DEEPFILLV2_CUSTOM),  # a far one does not
        ("a/places2 and celeba/snap-0", DEEPFILLV2_CUSTOM),
        ("a/Neuer Ordner/snap-0", DEEPFILLV2_CUSTOM),
    ],
)
def test_the_training_set_is_told_by_names(path: str, name: str) -> None:
    assert training_set_in_name(Path(path)) == name


def test_a_renamed_folder_is_neutral_unless_it_is_named(release: Path, tmp_path: Path) -> None:
    folder = tmp_path / "renamed"
    shutil.copytree(release, folder)
    assert [done.name for done in weights.import_weights(folder).installed] == [DEEPFILLV2_CUSTOM]
    done = weights.import_weights(folder, DEEPFILLV2_CELEBA_HQ).installed[0]
    assert done.name == DEEPFILLV2_CELEBA_HQ
    check_tensors(done.path, DEEPFILL)
    with pytest.raises(MissingError, match=r"by its content deepfillv2-custom, not scfegan"):
        weights.import_weights(folder / "snap-0", SCFEGAN)
    with pytest.raises(UsageError, match="'nothing' is not known"):
        weights.import_weights(folder, "nothing")


def test_the_command_says_the_licence(release: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, ["weights", "import", str(release / "snap-0"), "--name", DEEPFILLV2_CELEBA_HQ]) == 0
    shown = capsys.readouterr().out
    assert "deepfillv2-celeba-hq: snap-0.index -> " in shown
    assert "licence: CC BY-NC 4.0 (non-commercial use only)" in shown
    assert (home / "weights" / "deepfillv2-celeba-hq.safetensors").is_file()


def broken(folder: Path, tensors: dict[str, Any]) -> Path:
    w.write_bundle(folder / "places" / "snap-0", tensors)
    return folder / "places" / "snap-0"


def test_what_is_not_the_published_network_is_refused(tmp_path: Path) -> None:
    lacking = {name: array for name, array in DEEPFILL.items() if name != "inpaint_net/allconv17/bias"}
    guided = DEEPFILL | {"inpaint_net/conv1/kernel": np.zeros((5, 5, 6, 48), np.float32)}
    for tensors, reason in (
        (lacking, "1 of 84 tensors are missing, such as inpaint_net/allconv17/bias"),
        (guided, r"shape \(5, 5, 6, 48\), the published one has \(5, 5, 5, 48\); pass its path"),
        (DEEPFILL | {"inpaint_net/conv3/bias": np.zeros(95, np.float32)}, r"conv3/bias has the shape \(95,\)"),
        (DEEPFILL | {"inpaint_net/conv3/bias": np.full(96, np.nan, np.float32)}, "NaN"),
        (DEEPFILL | {"inpaint_net/conv3/bias": np.zeros(96, np.int32)}, "int32 where floats"),
        ({"other/kernel": np.zeros(3, np.float32)}, "another network, with 1 tensors such as other/kernel"),
        # Our name of a kernel in a TensorFlow file: neither network, and no crash.
        ({"coarse.conv1.weight": np.zeros(3, np.float32)}, "another network"),
    ):
        with pytest.raises(MissingError, match=reason):
            weights.import_weights(broken(tmp_path, tensors))
    assert not any(weights.installed(name) for name in (SCFEGAN, *DEEPFILLV2_NAMES))


def test_damage_is_named_and_nothing_is_installed(release: Path, tmp_path: Path) -> None:
    shutil.copytree(release, tmp_path / "places")
    prefix = tmp_path / "places" / "snap-0"
    data = prefix.with_name("snap-0.data-00000-of-00001")
    whole = bytearray(data.read_bytes())
    whole[len(whole) // 2] ^= 4
    data.write_bytes(whole)
    with pytest.raises(MissingError, match=r"data-00000-of-00001: the CRC32C of 'inpaint_net/.*' is wrong"):
        weights.import_weights(prefix)
    data.write_bytes(whole[:1_000_000])
    with pytest.raises(MissingError, match=r"1,000,000 bytes, but its tensors reach to byte .* cut off"):
        weights.import_weights(tmp_path / "places")
    index = prefix.with_name("snap-0.index")
    index.write_bytes(index.read_bytes()[:500])
    with pytest.raises(MissingError, match="or cut off at its end"):
        weights.import_weights(index)
    index.rename(prefix.with_name("mail.bin"))
    with pytest.raises(MissingError, match=r"mail\.bin: not a known weight file"):
        weights.import_weights(prefix.with_name("mail.bin"))
    assert not weights.installed(DEEPFILLV2_PLACES2)


def test_an_index_of_another_name_says_what_to_do(release: Path, tmp_path: Path) -> None:
    shutil.copy(release / "snap-0.index", tmp_path / "mail")
    with pytest.raises(MissingError, match=r"the index of a TensorFlow checkpoint; name it `NAME\.index`"):
        weights.import_weights(tmp_path / "mail")


@pytest.mark.slow
@pytest.mark.skipif(not VARIABLES.exists(), reason="needs ../shared/parity/baselines")
def test_a_full_sc_fegan_is_imported(tmp_path: Path) -> None:
    shapes = {name: tuple(shape) for name, shape in json.loads(VARIABLES.read_text())["scfegan_generator"]}
    tensors = {
        name: np.full(shape, (position % 97 + 1) / 64, np.float32)
        for position, (name, shape) in enumerate(shapes.items())
    }
    w.write_bundle(tmp_path / "SC-FEGAN.ckpt", tensors)
    done = weights.import_weights(tmp_path / "SC-FEGAN.ckpt").installed[0]
    assert done.name == SCFEGAN
    card = read_card(SCFEGAN)
    assert card is not None
    assert (card["tensor_count"], card["parameter_count"], card["tensors_left_out"]) == (93, 92_886_100, 0)
    check_tensors(done.path, tensors)


@pytest.mark.skipif(not VARIABLES.exists(), reason="needs ../shared/parity/baselines")
def test_the_names_written_out_here_are_the_expected_ones() -> None:
    stored = json.loads(VARIABLES.read_text())
    names = {name: tuple(shape) for name, shape in stored["deepfillv2_generator_unguided"]}
    assert names == deepfill_shapes()


def test_get_says_where_a_person_has_to_go() -> None:
    with pytest.raises(MissingError, match=r"get SC-FEGAN\.ckpt\.index from https://github\.com/run-youngjoo"):
        weights.get_weights(SCFEGAN)
