"""Every method behind one protocol: what it reads, what it ignores, and where its weights come from."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import photo_to_tensor, tensor_to_photo
from dpsdata.runtime.device import keyed_generator
from dpsdata.sketch import smooth_sketch
from dpsdata.weights.store import install
from models.baselines import DeepFillv2, DeepFillv2Config, ScFegan, ScFeganConfig, load_deepfillv2, load_scfegan
from models.baselines.loading import write_network
from models.baselines.scfegan import demo_noise
from models.editing.editor import load_editor
from models.methods.deepfillv2 import DeepFillv2Predictor
from models.methods.one_photo import fill_photo
from models.methods.predictor import LoadOptions, MethodPredictor, describe_method, load_method, say_method
from models.methods.registry import METHODS, default_weights, find_method
from models.methods.resampling import fit_edit, fit_photo
from models.methods.scfegan import ScFeganPredictor
from models.methods.weights import FoundWeights, find_method_weights

TESTS = Path(__file__).resolve().parents[1]
samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("method_samples.py"))))
parity = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("baselines") / "parity_arrays.py")))
bundles = SimpleNamespace(**runpy.run_path(str(TESTS / "parity" / "write_bundle.py")))
NAMES = ("dps", "deepfillv2", "deepfillv2-guided", "scfegan", "scfegan-refined", "mean-color", "telea", "navier-stokes")
FLOORS = NAMES[-3:]
SIZE = 128
Edit = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    samples.write_dps(folder / "dps", SIZE)
    return Path(samples.write_baselines(folder / "baselines"))


@pytest.fixture(scope="module")
def predictors(run: Path) -> dict[str, MethodPredictor]:
    found = {}
    for name in NAMES:
        weights = run.parent / "dps" if name == "dps" else run
        found[name] = load_method(name, LoadOptions(str(weights)))
    return found


@pytest.fixture
def edit() -> Edit:
    """Two photos with lines and holes, (2, ., 128, 128)."""
    generator = torch.Generator().manual_seed(0)
    photo = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1, SIZE, mode="bilinear")
    sketch, mask = torch.zeros(2, 1, SIZE, SIZE), torch.zeros(2, 1, SIZE, SIZE)
    sketch[:, :, 60, 20:100] = 1
    mask[0, :, 30:90, 40:100] = 1
    mask[1, :, 50:120, 10:70] = 1
    return photo, sketch, mask


def level_of(name: str) -> float | None:
    return 0.5 if METHODS[name].has_level else None


@pytest.mark.parametrize("name", NAMES)
def test_all_meet_the_protocol_and_read_nothing_in_the_hole(
    name: str, predictors: dict[str, MethodPredictor], edit: Edit
) -> None:
    photo, sketch, mask = edit
    predictor = predictors[name]
    assert predictor.method is METHODS[name]
    out = predictor.predict(photo, sketch, mask, ["x", "y"], level_of(name))
    assert out.photo.shape == photo.shape
    assert out.photo.dtype == torch.float32
    assert out.photo.min() >= -1
    assert out.photo.max() <= 1
    assert (out.refined_sketch is not None) == predictor.method.refines
    other = photo * (1 - mask) + 0.77 * mask
    again = predictor.predict(other, sketch, mask, ["x", "y"], level_of(name))
    assert torch.equal(again.photo * mask, out.photo * mask)


@pytest.mark.parametrize("name", NAMES)
def test_a_sketch_matters_to_those_that_take_one(name: str, predictors: dict[str, MethodPredictor], edit: Edit) -> None:
    photo, sketch, mask = edit
    with_lines = predictors[name].predict(photo, sketch, mask, ["x", "y"], level_of(name)).photo
    without = predictors[name].predict(photo, torch.zeros_like(sketch), mask, ["x", "y"], level_of(name)).photo
    assert torch.equal(with_lines, without) != METHODS[name].takes_sketch


def test_baselines_are_fed_as_they_are_published(run: Path, predictors: dict[str, MethodPredictor], edit: Edit) -> None:
    photo, sketch, mask = edit
    soft = sketch * 0.55
    soft[..., 61, 20:100] = 0.65
    hard = torch.zeros_like(sketch)
    hard[..., 61, 20:100] = 1
    guided = load_deepfillv2(run / "weights/deepfillv2-guided.safetensors")
    with torch.no_grad():
        expected = guided(photo, mask, hard)["raw"]
    assert torch.equal(predictors["deepfillv2-guided"].predict(photo, soft, mask, ["x", "y"], None).photo, expected)

    noise = torch.cat([demo_noise(SIZE, SIZE, keyed_generator(0, name, "SC-FEGAN noise")) for name in ("x", "y")])
    assert not torch.equal(noise[0], noise[1])
    with torch.no_grad():
        painted = load_scfegan(run / "weights/scfegan.safetensors")(photo, mask, sketch, None, noise)["raw"]
    assert torch.equal(predictors["scfegan"].predict(photo, sketch, mask, ["x", "y"], None).photo, painted)


def test_noise_is_keyed_by_seed_and_id_and_not_by_the_batch(
    run: Path, predictors: dict[str, MethodPredictor], edit: Edit
) -> None:
    photo, sketch, mask = edit
    scfegan = predictors["scfegan"]
    both = scfegan.predict(photo, sketch, mask, ["x", "y"], None).photo
    alone = scfegan.predict(photo[1:], sketch[1:], mask[1:], ["y"], None).photo
    assert (both[1:] - alone).abs().max() < 1e-5
    renamed = scfegan.predict(photo[1:], sketch[1:], mask[1:], ["z"], None).photo
    assert (renamed - alone).abs().max() > 1e-3
    other_seed = load_method("scfegan", LoadOptions(str(run), seed=1))
    assert (other_seed.predict(photo[1:], sketch[1:], mask[1:], ["y"], None).photo - alone).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "size"), [("scfegan", 96), ("scfegan", 200), ("deepfillv2-guided", 100)])
def test_other_sizes_are_resampled_and_given_back(
    name: str, size: int, predictors: dict[str, MethodPredictor], edit: Edit
) -> None:
    photo, sketch, mask = (tensor[:1, :, :size, :size] for tensor in edit)
    if size > SIZE:
        photo, sketch, mask = (torch.nn.functional.interpolate(tensor, size) for tensor in (photo, sketch, mask))
    out = predictors[name].predict(photo, sketch, mask, ["x"], None).photo
    assert out.shape == photo.shape
    hidden = predictors[name].predict(photo * (1 - mask) - mask, sketch, mask, ["x"], None).photo
    assert torch.equal(out, hidden)


def test_fitting_keeps_known_pixels_clean_and_lines_thin(edit: Edit) -> None:
    photo, sketch, mask = edit
    assert all(before is after for before, after in zip(edit, fit_edit(*edit, (SIZE, SIZE)), strict=True))
    flat = torch.full_like(photo, 0.25)
    fitted, lines, holes = fit_edit(flat * (1 - mask) + mask, sketch, mask, (512, 512))
    known = (1 - holes).expand_as(fitted) == 1
    assert (fitted[known] - 0.25).abs().max() < 1e-5
    assert holes.sum() == 16 * mask.sum()
    assert torch.equal(lines.sum(dim=2).max(), torch.tensor(1.0))  # one pixel thick
    assert 4 * 80 - 8 <= lines[0].sum() <= 4 * 80
    _, small_lines, small_holes = fit_edit(photo, sketch, mask, (64, 64))
    assert small_lines[0].sum() >= 38
    assert torch.equal(small_holes, torch.nn.functional.max_pool2d(mask, 2))
    assert torch.allclose(fit_photo(torch.full((1, 3, 64, 64), 0.5), (48, 40)), torch.tensor(0.5), atol=1e-6)


def test_floors_by_hand(predictors: dict[str, MethodPredictor]) -> None:
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    pixels[0, :, 2:] = (200, 100, 50)
    pixels[0, 1, 1] = 255
    mask = torch.zeros(1, 1, 4, 4)
    mask[0, 0, 1, 1] = 1
    photo, sketch = photo_to_tensor(pixels), torch.zeros(1, 1, 4, 4)
    # 8 of 15 known pixels are (200, 100, 50), the others black: 106.67, 53.33, 26.67.
    mean = predictors["mean-color"].predict(photo, sketch, mask, ["x"], None).photo
    assert torch.equal(mean[0, :, 1, 1], torch.tensor([107.0, 53.0, 27.0]) / 127.5 - 1)
    assert torch.equal(mean * (1 - mask), photo * (1 - mask))
    for name, flag in (("telea", cv2.INPAINT_TELEA), ("navier-stokes", cv2.INPAINT_NS)):
        out = predictors[name].predict(photo, sketch, mask, ["x"], None).photo
        filled = pixels[0].copy()
        filled[1, 1] = (107, 53, 27)
        expected = cv2.inpaint(filled, mask[0, 0].numpy().astype(np.uint8), 3, flag)
        assert torch.equal(out, photo_to_tensor(expected[None]))
        assert not torch.equal(out, mean)


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_of_nothing_known_is_grey_and_of_no_hole_the_photo(
    name: str, predictors: dict[str, MethodPredictor], edit: Edit
) -> None:
    photo, sketch, mask = (tensor[:1] for tensor in edit)
    out = predictors[name].predict(photo, sketch, torch.ones_like(mask), ["x"], None).photo
    assert (tensor_to_photo(out) == 128).all()
    same = predictors[name].predict(photo, sketch, torch.zeros_like(mask), ["x"], None).photo
    assert (same - photo).abs().max() <= 0.5 / 127.5 + 1e-6


def test_facts_say_what_was_scored(predictors: dict[str, MethodPredictor]) -> None:
    facts = describe_method(predictors["scfegan"])
    assert (facts["origin"], facts["guided"], facts["images_seen"]) == ("retrained", True, 1234)
    assert (facts["width"], facts["published_width"], facts["licence"]) == (4, 64, "for tests alone")
    assert facts["parameter_count"] == sum(value.numel() for value in ScFegan(ScFeganConfig(4)).state_dict().values())
    assert "a reduced network of width 4, where 64 is published" in facts["sentence"]
    assert "images seen: 1,234" in facts["sentence"]
    assert describe_method(predictors["deepfillv2"])["guided"] is False
    assert describe_method(predictors["mean-color"])["origin"] == "no weights"
    dps = describe_method(predictors["dps"])
    assert (dps["origin"], dps["images_seen"], dps["licence"]) == ("retrained", None, "unknown")
    assert dps["parameter_count"] > 10_000


def test_official_weights_are_named_with_their_licence_before_use(tmp_path: Path) -> None:
    assert default_weights(find_method("deepfillv2")) == "bundled"
    named = parity.to_tensorflow(DeepFillv2(DeepFillv2Config(4)))
    arrays = {name: torch.from_numpy(value) for name, value in named.items()}
    install("deepfillv2-places2", arrays, {"layout": "tensorflow"})
    assert default_weights(find_method("deepfillv2")) == "official"
    assert default_weights(find_method("scfegan")) == "bundled"
    predictor = load_method("deepfillv2")
    assert predictor.provenance.origin == "official"
    assert "CC BY-NC 4.0 (non-commercial use only)" in say_method(predictor)
    assert list(predictor.provenance.weights) == ["deepfillv2-places2"]
    install("deepfillv2-celeba-hq", arrays, {"layout": "tensorflow"})
    assert list(load_method("deepfillv2").provenance.weights) == ["deepfillv2-celeba-hq"]


def test_published_scfegan_runs_at_512_and_a_bundle_is_told(tmp_path: Path) -> None:
    bundles.write_bundle(tmp_path / "SC-FEGAN.ckpt", parity.to_tensorflow(ScFegan(ScFeganConfig(1))))
    for source in (tmp_path, tmp_path / "SC-FEGAN.ckpt", tmp_path / "SC-FEGAN.ckpt.index"):
        predictor = load_method("scfegan", LoadOptions(str(source)))
        assert isinstance(predictor, ScFeganPredictor)
        assert (predictor.sizes.data_px, predictor.sizes.network_px) == (512, 512)
        assert predictor.provenance.origin == "TensorFlow checkpoint"
        assert set(predictor.provenance.weights) == {"SC-FEGAN.ckpt.index", "SC-FEGAN.ckpt.data-00000-of-00001"}
        assert "resampled to 512 px and back" in say_method(predictor)


def test_a_card_tells_how_it_was_trained(tmp_path: Path, edit: Edit) -> None:
    """Photos of 64 px that the training enlarged to 128 px, and a soft pen: the same at prediction."""
    card = {"data_px": 64, "network_px": 128, "sketch": "smooth_sketch"}
    write_network(tmp_path / "scfegan.safetensors", samples.lively(ScFegan(ScFeganConfig(1)), 1.0), card)
    predictor = load_method("scfegan", LoadOptions(str(tmp_path)))
    assert isinstance(predictor, ScFeganPredictor)
    assert "soft pen of its training; resampled to 64 and 128 px and back" in say_method(predictor)
    photo, sketch, mask = (tensor[:1, :, 32:96, 32:96] for tensor in edit)
    photo = torch.full_like(photo, 0.25)  # flat, so that the rim of the hole is the same however it is resampled
    big = (128, 128)
    enlarged = torch.nn.functional.interpolate(smooth_sketch(sketch), big, mode="bilinear", align_corners=False)
    assert ((enlarged > 0.05) & (enlarged < 0.95)).any()
    noise = demo_noise(*big, keyed_generator(0, "x", "SC-FEGAN noise"))
    with torch.no_grad():
        raw = predictor.net(
            torch.full((1, 3, *big), 0.25), torch.nn.functional.interpolate(mask, big), enlarged, None, noise
        )["raw"]
    found = predictor.predict(photo, sketch, mask, ["x"], None).photo
    assert (found - fit_photo(raw, (64, 64))).abs().max() < 1e-5
    large = predictor.predict(*edit, ["x", "y"], None).photo
    assert large.shape == edit[0].shape

    net = samples.lively(DeepFillv2(DeepFillv2Config(4, guided=True)), 2.0)
    write_network(tmp_path / "deepfillv2-guided.safetensors", net, card)
    guided = load_method("deepfillv2-guided", LoadOptions(str(tmp_path)))
    assert "soft pen of its training; resampled to 64 px and back" in say_method(guided)
    photo, sketch, mask = (tensor[:1, :, 32:96, 32:96] for tensor in edit)
    with torch.no_grad():
        expected = net(photo, mask, smooth_sketch(sketch))["raw"]
    assert (guided.predict(photo, sketch, mask, ["x"], None).photo - expected).abs().max() < 1e-5
    with torch.no_grad():
        small, lines, hole = fit_edit(*edit, (64, 64))
        expected = fit_photo(net(small, hole, smooth_sketch(lines))["raw"], tuple(edit[0].shape[2:]))
    assert (guided.predict(*edit, ["x", "y"], None).photo - expected).abs().max() < 1e-5


def test_a_strange_card_is_not_believed(tmp_path: Path) -> None:
    card = {"data_px": "wide", "network_px": 0, "images_seen": -1, "sketch": 3}
    write_network(tmp_path / "scfegan.safetensors", ScFegan(ScFeganConfig(1)), card)
    found = find_method_weights(find_method("scfegan"), str(tmp_path))
    assert (found.data_px, found.network_px, found.images_seen, found.has_soft_pen) == (None, None, None, False)


def test_missing_weights_name_the_commands_that_help(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.methods.weights.has_bundled_baseline", lambda stem: False)
    for name, weights, reason in (
        ("deepfillv2", "bundled", "dps train lite-deepfillv2-256 "),
        ("deepfillv2", "official", "dps weights import"),
        ("deepfillv2-guided", "bundled", "never released"),
        ("deepfillv2-guided", "official", "dps train lite-deepfillv2-guided-256"),
        ("scfegan", "bundled", "dps train lite-scfegan-256"),
        ("scfegan", str(tmp_path), "no scfegan.safetensors in this folder"),
        ("scfegan", str(tmp_path / "none"), "there are no weights of scfegan here"),
        ("deepfillv2-guided", str(run / "weights/deepfillv2.safetensors"), "these weights are not guided"),
        ("deepfillv2", str(run / "weights/deepfillv2-guided.safetensors"), "belong to deepfillv2-guided"),
        ("scfegan", str(run / "weights/deepfillv2.safetensors"), "it holds deepfillv2"),
        ("dps", str(tmp_path), "dps weights import"),
    ):
        with pytest.raises(MissingError, match=reason):
            load_method(name, LoadOptions(weights))


def test_wrong_options_are_refused(run: Path) -> None:
    with pytest.raises(UsageError, match=r"expected one of dps, dps-g, .*navier-stokes, got 'lama'"):
        load_method("lama")
    with pytest.raises(UsageError, match="written together with dps"):
        load_method("dps-g")
    with pytest.raises(UsageError, match="fp32 alone"):
        load_method("scfegan", LoadOptions(str(run), precision="bf16"))
    with pytest.raises(UsageError, match="needs no weights"):
        find_method_weights(find_method("telea"), str(run))
    for name in ("mean-color", "telea", "navier-stokes"):
        with pytest.raises(UsageError, match="device: expected auto"):
            load_method(name, LoadOptions(device="banana"))
        with pytest.raises(UsageError, match="precision"):
            load_method(name, LoadOptions(precision="fp8"))


def test_found_weights_are_hashed(run: Path) -> None:
    found = find_method_weights(find_method("deepfillv2"), str(run))
    assert isinstance(found, FoundWeights)
    assert found.path == run / "weights/deepfillv2.safetensors"
    assert len(found.sha256["deepfillv2.safetensors"]) == 64


@pytest.mark.parametrize("name", ["dps", "deepfillv2-guided", "telea"])
def test_numpy_door_keeps_every_known_pixel_at_any_size(name: str, predictors: dict[str, MethodPredictor]) -> None:
    generator = np.random.default_rng(4)
    photo = generator.integers(0, 256, (90, 140, 3), dtype=np.uint8)
    sketch, mask = np.full((90, 140), 255, np.uint8), np.zeros((90, 140), np.uint8)
    sketch[40:43, 20:120] = 0
    mask[20:70, 30:100] = 255
    results = fill_photo(predictors[name], photo, sketch, mask, (0.0, 1.0), "none", "x")
    assert [result.level for result in results] == ([0.0, 1.0] if METHODS[name].has_level else [None])
    for result in results:
        assert result.photo.shape == photo.shape
        assert np.array_equal(result.photo[mask == 0], photo[mask == 0])
        assert (result.photo[mask > 0] != photo[mask > 0]).any()
    empty = fill_photo(predictors[name], photo, sketch, np.zeros_like(mask), (0.0,), "none")
    assert np.array_equal(empty[0].photo, photo)


def test_numpy_door_of_dps_is_the_editors(run: Path, predictors: dict[str, MethodPredictor]) -> None:
    photo = np.random.default_rng(4).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    sketch, mask = np.full((160, 160), 255, np.uint8), np.zeros((160, 160), np.uint8)
    sketch[70:73, 20:140] = 0
    mask[40:120, 30:130] = 255
    editor = load_editor(str(run.parent / "dps"), "edit")
    expected = editor.predict(photo, sketch, mask, [0.5], "none")[0].photo
    found = fill_photo(predictors["dps"], photo, sketch, mask, [0.5], "none")[0].photo
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_numpy_door_refuses_what_breaks_its_contract(predictors: dict[str, MethodPredictor]) -> None:
    photo, grey = np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 255, np.uint8)
    for arguments, reason in (
        ((photo, grey, grey, ()), "needs at least one number"),
        ((photo, grey, grey, (2.0,)), r"\[0, 1\]"),
        ((photo[..., 0], grey, grey, (0.5,)), r"expected uint8 \(H, W, 3\)"),
        ((photo, grey[:32], grey, (0.5,)), "must have one size"),
        ((photo, grey, grey, (0.5,), "left"), "expected auto or none"),
    ):
        with pytest.raises(UsageError, match=reason):
            fill_photo(predictors["dps"], *arguments)


def test_the_registry_is_whole() -> None:
    for name, method in METHODS.items():
        assert method.name == name
        assert method.title
        assert method.licence
        assert set(method.takes) <= {"photo", "mask", "sketch", "color"}
        assert not method.needs_weights or method.missing
        for other in (method.made_by, method.sketch_from):
            assert other is None or METHODS[other].refines
    with pytest.raises(AttributeError):
        replace(METHODS["dps"]).name = "other"  # type: ignore[misc]


def test_predictors_are_of_the_networks(predictors: dict[str, MethodPredictor]) -> None:
    assert isinstance(predictors["deepfillv2"], DeepFillv2Predictor)
    assert isinstance(predictors["scfegan-refined"], ScFeganPredictor)
    assert predictors["dps"].resolution == SIZE
    assert predictors["scfegan"].resolution is None
