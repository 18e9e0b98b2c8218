"""The FID network and whole FIDs against the four tools, all with the same random weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dpsdata.contracts import MissingError, UsageError
from dpsdata.images.codec import write_photo
from dpseval.metrics.frechet import frechet_distance
from dpseval.metrics.inception import FidInception, load_inception
from dpseval.metrics.kid import kid
from dpseval.metrics.names import PREPS

State = dict[str, torch.Tensor]
Extract = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def network(inception_state: State) -> FidInception:
    return load_inception(inception_state)


@pytest.fixture(scope="session")
def torch_fidelity_network(inception_file: Path) -> torch.nn.Module:
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    return module.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(inception_file)
    )


def planes(photos: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(photos).permute(0, 3, 1, 2).contiguous()


@pytest.fixture
def extract_with(
    inception_state: State, inception_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, torch.nn.Module], Extract]:
    """Each tool's own way from photos to features."""

    def files(photos: np.ndarray) -> list[str]:
        folder = tmp_path / f"photos{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for index, photo in enumerate(photos):
            write_photo(folder / f"{index}.png", photo)
        return sorted(map(str, folder.iterdir()))

    def pytorch_fid(photos: np.ndarray) -> np.ndarray:
        inception = pytest.importorskip("pytorch_fid.inception")
        score = pytest.importorskip("pytorch_fid.fid_score")
        monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: inception_state)
        return score.get_activations(files(photos), inception.InceptionV3(), len(photos), num_workers=0)

    def clean(photos: np.ndarray, trunk: torch.nn.Module) -> np.ndarray:
        fid = pytest.importorskip("cleanfid.fid")
        torchscript = pytest.importorskip("cleanfid.inception_torchscript")
        model = torchscript.InceptionV3W.__new__(torchscript.InceptionV3W)
        torch.nn.Module.__init__(model)
        model.layers, model.resize_inside = trunk, False
        return fid.get_files_features(
            files(photos), model=model, num_workers=0, device=torch.device("cpu"), verbose=False
        )

    def torchmetrics(photos: np.ndarray) -> np.ndarray:
        pytest.importorskip("torch_fidelity")
        from torchmetrics.image.fid import NoTrainInceptionV3

        model = NoTrainInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(inception_file))
        return model(planes(photos)).numpy()

    def choose(prep: str, reference: torch.nn.Module) -> Extract:
        if prep == "torch-fidelity":
            return lambda photos: reference(planes(photos))[0].numpy()
        if prep == "clean":
            trunk = torch.nn.Sequential(
                *(child for name, child in reference.named_children() if name != "fc"), torch.nn.Flatten()
            )
            return lambda photos: clean(photos, trunk)
        return pytorch_fid if prep == "pytorch-fid" else torchmetrics

    return choose


def tools_distance(prep: str, a: np.ndarray, b: np.ndarray) -> float:
    """Each tool's own FID formula, on coordinates in the span of the features: equal, and quick."""
    gathered = np.concatenate([a - a.mean(0), b - b.mean(0), (a.mean(0) - b.mean(0))[None]])
    basis = np.linalg.svd(gathered, full_matrices=False)[2]
    a, b = (np.asarray(x, np.float64) @ basis.T for x in (a, b))
    mean_a, mean_b, cov_a, cov_b = a.mean(0), b.mean(0), np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    if prep == "torch-fidelity":
        from torch_fidelity.metric_fid import fid_statistics_to_metric

        first, second = {"mu": mean_a, "sigma": cov_a}, {"mu": mean_b, "sigma": cov_b}
        return fid_statistics_to_metric(first, second, False)["frechet_inception_distance"]
    if prep == "torchmetrics":
        from torchmetrics.image.fid import _compute_fid

        return float(_compute_fid(*(torch.from_numpy(x) for x in (mean_a, cov_a, mean_b, cov_b))))
    from scipy.linalg import sqrtm

    # pytorch-fid and clean-fid call sqrtm with an argument that SciPy 1.18 no longer has: their formula, written out.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = np.asarray(sqrtm(cov_a @ cov_b)).real
    gap = mean_a - mean_b
    return float(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root))


@pytest.mark.parametrize("prep", PREPS)
def test_fid_equals_the_tool(
    prep: str,
    network: FidInception,
    torch_fidelity_network: torch.nn.Module,
    photo_sets: tuple[np.ndarray, np.ndarray],
    extract_with: Callable[[str, torch.nn.Module], Extract],
) -> None:
    extract = extract_with(prep, torch_fidelity_network)
    with torch.inference_mode():
        theirs = [np.asarray(extract(photos), np.float64) for photos in photo_sets]
    ours = [network.extract(photos, prep) for photos in photo_sets]
    size = theirs[0].std()
    assert size > 0.05  # the random network is alive
    assert max(np.abs(x - y).max() for x, y in zip(ours, theirs, strict=True)) < 2e-3 * size
    expected, value = tools_distance(prep, *theirs), frechet_distance(*ours)
    traces = sum(((x - x.mean(0)) ** 2).sum() / (len(x) - 1) for x in theirs)
    assert expected > 0.01 * traces
    assert value == pytest.approx(expected, rel=1e-3)


def test_kid_from_photos_equals_torch_fidelity(
    network: FidInception, torch_fidelity_network: torch.nn.Module, photo_sets: tuple[np.ndarray, np.ndarray]
) -> None:
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    sets = [photos[:2] for photos in photo_sets]
    with torch.inference_mode():
        theirs = [torch_fidelity_network(planes(photos))[0] for photos in sets]
    expected = metric.kid_features_to_metric(*theirs, kid_subsets=1, kid_subset_size=2, verbose=False)
    value = kid(*(network.extract(photos, "torch-fidelity") for photos in sets))
    assert value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-3)


def test_preprocessing_shows_and_the_batch_does_not(
    network: FidInception, photo_sets: tuple[np.ndarray, np.ndarray]
) -> None:
    photos = photo_sets[1]
    together = network.extract(photos, "clean")
    assert together.shape == (2, 2048)
    assert together.dtype == np.float32
    alone = network.extract(photos[1:], "clean")
    np.testing.assert_allclose(alone[0], together[1], rtol=0, atol=1e-4 * together.std())
    assert np.abs(network.extract(photos[1:], "pytorch-fid") - alone).max() > 0.02


def test_wrong_input(network: FidInception) -> None:
    with pytest.raises(UsageError, match=r"inception: expected \(N, 3, 299, 299\), got \(1, 3, 256, 256\)"):
        network(torch.zeros(1, 3, 256, 256))
    with pytest.raises(MissingError, match="not the Inception network of FID"):
        load_inception({"weight": torch.zeros(1)})


def test_no_weights_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPS_HOME", str(tmp_path))
    with pytest.raises(MissingError, match="run `dps weights get inception-fid`"):
        load_inception()
