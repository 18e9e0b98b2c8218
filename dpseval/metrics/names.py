"""What each metric is called, which way is better, in which unit and in which regions it exists.

Nothing heavy is imported here: tables, plots and command lines read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dpsdata.contracts import UsageError

REGION_NAMES = ("full", "hole", "ring")

Kind = Literal["image", "pooled", "set"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        name: its name in `per_image.csv` and `scores.csv`.
        title: what tables and plots print.
        higher_is_better: None for a guard that has no better side.
        unit: "" where the value has none.
        regions: where it is measured, in the order of the tables.
        kind: `image` (one value per image, the table holds the mean), `pooled` (one value per set, from a column of
            `per_image.csv`) or `set` (one value per set, from features; an interval only where it has a standard
            error).
        lowest: smallest value there can be; intervals are cut here.
        highest: largest value there can be; intervals are cut here.
    """

    name: str
    title: str
    higher_is_better: bool | None
    unit: str
    regions: tuple[str, ...]
    kind: Kind = "image"
    lowest: float = -math.inf
    highest: float = math.inf

    @property
    def arrow(self) -> str:
        """`↑` where more is better, `↓` where less is, "" for a guard."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]


_FULL, _HOLE = ("full",), ("hole",)


def _space(ending: str, frechet: str, network: str, kernel: str = "", has_distances: bool = True) -> tuple[Metric, ...]:
    """The metrics of a set of photos in the space of one network."""
    of, unit = f", {network}" if network else "", {"lowest": 0.0, "highest": 1.0}
    distances = (
        Metric(f"fd{ending}", frechet, False, "", _FULL, "set"),
        Metric(f"kd{ending}", kernel or f"Kernel distance of {network}", False, "", _FULL, "set"),
    )
    return (
        *(distances if has_distances else ()),
        Metric(f"fd{ending}_inf" if ending else "fid_inf", f"{frechet} at infinite N", False, "", _FULL, "set"),
        Metric(f"precision{ending}", f"Precision{of}", True, "", _FULL, "set", **unit),
        Metric(f"recall{ending}", f"Recall{of}", True, "", _FULL, "set", **unit),
        Metric(f"density{ending}", f"Density{of}", True, "", _FULL, "set", lowest=0.0),
        Metric(f"coverage{ending}", f"Coverage{of}", True, "", _FULL, "set", **unit),
        Metric(f"p_ids{ending}", f"P-IDS{of}, cross-validated", True, "", _FULL, "set", **unit),
        Metric(f"u_ids{ending}", f"U-IDS{of}, cross-validated", True, "", _FULL, "set", **unit),
    )


_TABLE = (
    Metric("psnr", "PSNR", True, "dB", REGION_NAMES, lowest=0.0),
    Metric("psnr_pooled", "PSNR, pooled", True, "dB", REGION_NAMES, "pooled", lowest=0.0),
    Metric("ssim", "SSIM", True, "", REGION_NAMES, lowest=-1.0, highest=1.0),
    Metric("l1", "L1", False, "", REGION_NAMES, lowest=0.0, highest=1.0),
    Metric("lpips_alex", "LPIPS (AlexNet, v0.1)", False, "", REGION_NAMES, lowest=0.0),
    Metric("lpips_vgg", "LPIPS (VGG16, v0.1)", False, "", REGION_NAMES, lowest=0.0),
    Metric("lpips_squeeze", "LPIPS (SqueezeNet, v0.1)", False, "", REGION_NAMES, lowest=0.0),
    Metric("hedps", "HED perceptual distance", False, "", REGION_NAMES, lowest=0.0),
    Metric("known_drift", "Drift of known pixels", False, "", _FULL, lowest=0.0, highest=1.0),
    Metric("edge_f_drawn", "Edge F, drawn sketch", True, "", _HOLE, lowest=0.0, highest=1.0),
    Metric("edge_f_refined", "Edge F, refined sketch", True, "", _HOLE, lowest=0.0, highest=1.0),
    Metric("chamfer_px", "Chamfer distance to the drawn sketch", False, "px", _HOLE, lowest=0.0),
    Metric("hed_ssim", "HED-SSIM to the truth's edges", True, "", ("full", "hole"), lowest=-1.0, highest=1.0),
    Metric("lineart_ssim", "Line-art SSIM to the drawn sketch", True, "", ("full", "hole"), lowest=-1.0, highest=1.0),
    Metric("id_similarity", "Identity similarity to the truth", True, "", _FULL, lowest=-1.0, highest=1.0),
    Metric("landmark_nme", "Landmark error over eye distance", False, "", ("full", "hole"), lowest=0.0),
    Metric("id_p5", "Identity similarity, 5th percentile", True, "", _FULL, "set", lowest=-1.0, highest=1.0),
    Metric("id_share", "Share recognised at FMR 1e-3", True, "", _FULL, "set", lowest=0.0, highest=1.0),
    Metric("id_impostor", "Identity similarity of other people", None, "", _FULL, "set", lowest=-1.0, highest=1.0),
    Metric("psnr_as_zits", "PSNR as ZITS computes it, 1 dB too high", True, "dB", _FULL),
    Metric("ssim_as_zits", "SSIM as ZITS computes it, grey 7x7", True, "", _FULL, lowest=-1.0, highest=1.0),
    Metric("ssim_as_lama", "SSIM as LaMa computes it, zero-padded", True, "", _FULL, lowest=-1.0, highest=1.0),
    Metric("psnr_as_mat", "PSNR as MAT computes it", True, "dB", _FULL, lowest=0.0),
    Metric("ssim_as_mat", "SSIM as MAT computes it", True, "", _FULL, lowest=-1.0, highest=1.0),
    Metric("l1_as_mat", "L1 as MAT computes it", False, "", _FULL, lowest=0.0, highest=1.0),
    Metric("edge_density", "Edge density of the output", None, "", _HOLE, lowest=0.0, highest=1.0),
    Metric("fid", "FID", False, "", _FULL, "set"),
    Metric("kid", "KID", False, "", _FULL, "set"),
    Metric("fd_hed", "Frechet distance of HED features", False, "", _FULL, "set"),
    Metric("kd_hed", "Kernel distance of HED features", False, "", _FULL, "set"),
    *_space("", "FID", "", kernel="KID", has_distances=False),
    *_space("_efflite", "Frechet distance of EfficientNet-Lite0", "EfficientNet-Lite0"),
    Metric("fd_dinov2", "Frechet distance of DINOv2", False, "", _FULL, "set"),
    Metric("kd_dinov2", "Kernel distance of DINOv2", False, "", _FULL, "set"),
    Metric("cmmd", "CMMD (CLIP)", False, "", _FULL, "set", lowest=0.0),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _TABLE}
"""Every metric by name, in the order of the tables."""

PROTOCOLS = {
    "zits": ("psnr_as_zits", "ssim_as_zits"),
    "lama": ("ssim_as_lama",),
    "mat": ("psnr_as_mat", "ssim_as_mat", "l1_as_mat"),
}
"""The scores of published protocols, which `--as` adds."""

FACE_METRICS = ("id_similarity", "landmark_nme", "id_p5", "id_share", "id_impostor")
"""The metrics that need the networks of faces."""

IDENTITY_NETWORKS = ("face-api", "mobilefacenet")
"""The networks that can describe a face, the usual one first."""

SPACES: dict[str, tuple[str, ...]] = {
    "inception": ("fid", "kid", *(metric.name for metric in _space("", "", "", has_distances=False))),
    "efflite": tuple(metric.name for metric in _space("_efflite", "", "")),
    "dinov2": ("fd_dinov2", "kd_dinov2"),
    "clip": ("cmmd",),
}
"""The metrics of sets of photos, by the network whose features they need."""


PREPS = ("pytorch-fid", "torch-fidelity", "torchmetrics", "clean")


def check_prep(prep: str) -> str:
    """Return the name of a preprocessing; raise UsageError where it is not one of `PREPS`."""
    if prep not in PREPS:
        raise UsageError(f"prep: expected {', '.join(PREPS[:-1])} or {PREPS[-1]}, got {prep!r}")
    return prep
