"""Weights that are a pure function of (reference key, shape, seed), so that parity needs no weight file.

Restates ../shared/parity/formula_weights.py; `fill({key: shape}, seed)` gives {key: float32 array}.
"""

from __future__ import annotations

import zlib

import numpy as np


def draw(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    generator = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)
    return generator.standard_normal(shape)


def tensor(key: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """One tensor: norm scales near 1, kernels He-scaled, biases small."""
    shape = tuple(shape)
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    x = draw(key, shape, seed)
    is_style = ".style." in key and ".bn" in key  # the affine layer of an AdaIN
    if leaf == "running_var":
        out = 1.0 + 0.2 * np.abs(x)
    elif leaf == "running_mean":
        out = 0.1 * x
    elif leaf == "bias" and is_style:
        out = 0.1 * x
        out[: shape[0] // 2] += 1.0  # its first half is the scale
    elif leaf == "bias":
        out = 0.05 * x
    elif leaf == "weight" and len(shape) == 1:
        out = 1.0 + 0.1 * x
    elif len(shape) >= 2:
        is_score_head = shape[0] == 1 and shape[1] > 5 and shape[2:] == (1, 1)
        gain = 0.25 if is_style else 0.02 if is_score_head else 1.0
        out = x * gain * np.sqrt(2.0 / int(np.prod(shape[1:])))
    else:
        out = x
    return out.astype(np.float32)


def fill(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """All tensors of one network; spectral-norm vectors are the converged power iteration of their kernel."""
    out = {key: tensor(key, shape, seed) for key, shape in shapes.items() if not key.endswith(("weight_u", "weight_v"))}
    for key in (key for key in shapes if key.endswith("weight_u")):
        stem = key.removesuffix("weight_u")
        kernel = out[f"{stem}weight_orig"].astype(np.float64)
        kernel = kernel.reshape(len(kernel), -1)
        u = draw(key, (len(kernel),), seed)
        for _ in range(100):
            v = kernel.T @ u
            v /= np.linalg.norm(v)
            u = kernel @ v
            u /= np.linalg.norm(u)
        out[f"{stem}weight_u"], out[f"{stem}weight_v"] = u.astype(np.float32), v.astype(np.float32)
    return out
