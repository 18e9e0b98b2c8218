"""Published protocols against their own arithmetic, and numbers that the authors' script printed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn import functional as F

from dpsdata.contracts import UsageError
from dpseval.metrics.published import score_as
from dpseval.scoring.config import ScoreConfig

PARITY = Path(__file__).resolve().parents[4] / "shared" / "parity" / "sketchrefiner" / "metrics.npz"


def make_pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = np.kron(generator.integers(0, 256, (6, 7, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    output = truth.copy()
    output[10:30, 12:40] = np.clip(output[10:30, 12:40] + generator.normal(0, 20, (20, 28, 3)), 0, 255).astype(np.uint8)
    return output, truth


def test_zits_is_its_own_arithmetic():
    output, truth = make_pair()
    found = score_as("zits", output, truth)
    mse = np.mean((output / 255 - truth / 255) ** 2)
    assert found["psnr_as_zits"] == pytest.approx(1 - 10 * math.log10(mse + 1e-7), rel=1e-9)
    assert found["psnr_as_zits"] == pytest.approx(peak_signal_noise_ratio(truth, output) + 1, abs=1e-3)
    grey = [item / 255 @ np.array([0.0721, 0.7154, 0.2125]) for item in (output, truth)]
    assert found["ssim_as_zits"] == pytest.approx(structural_similarity(*grey, data_range=2, win_size=7), rel=1e-6)
    assert score_as("zits", truth, truth)["psnr_as_zits"] == pytest.approx(71)


@pytest.mark.skipif(not PARITY.is_file(), reason="the numbers of the published script are in ../shared/parity")
def test_zits_gives_what_the_published_script_printed():
    stored = np.load(PARITY)
    result, truth = stored["result_bgr"][..., ::-1], stored["truth_bgr"][..., ::-1]
    hole = stored["mask"][..., None] > 0
    found = score_as("zits", np.where(hole, result, truth), np.ascontiguousarray(truth))
    assert found["psnr_as_zits"] == pytest.approx(float(stored["mask1_psnr"]), abs=2e-4)
    assert found["ssim_as_zits"] == pytest.approx(float(stored["mask1_ssim"]), abs=2e-4)


def test_lama_pads_with_zeros():
    output, truth = make_pair(1)
    offsets = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(offsets**2) / (2 * 1.5**2))
    line /= line.sum()
    window = (line[:, None] * line[None]).expand(3, 1, 11, 11)
    x, y = (torch.from_numpy(item / 255).permute(2, 0, 1)[None] for item in (output, truth))

    def mean(value):
        return F.conv2d(value, window, padding=5, groups=3)

    mean_x, mean_y = mean(x), mean(y)
    spread = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    both = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    whole = (2 * mean_x * mean_y + c1) * (2 * both + c2) / ((mean_x**2 + mean_y**2 + c1) * (spread + c2))
    assert score_as("lama", output, truth)["ssim_as_lama"] == pytest.approx(float(whole.mean()), rel=1e-6)


def test_mat_is_scikit_image_in_whole_windows():
    output, truth = make_pair(2)
    found = score_as("mat", output, truth)
    _, similarity = structural_similarity(
        truth, output, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2,
        full=True,
    )  # fmt: skip
    assert found["ssim_as_mat"] == pytest.approx(similarity[5:-5, 5:-5].mean(), rel=1e-9)
    assert found["psnr_as_mat"] == pytest.approx(peak_signal_noise_ratio(truth, output), rel=1e-9)
    assert found["l1_as_mat"] == pytest.approx(np.abs(output.astype(float) - truth).mean() / 255, rel=1e-9)


def test_another_paper_is_refused():
    with pytest.raises(UsageError, match="expected zits, lama or mat"):
        ScoreConfig(protocols=("edgeconnect",))
