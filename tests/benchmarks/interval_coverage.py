"""How often the intervals of means hold the true mean, for distributions that scores can have.

    OMP_NUM_THREADS=1 python tests/benchmarks/interval_coverage.py [IMAGES [REPETITIONS]]

Prints the share per distribution; nominal is 0.95, the bar is 0.93 to 0.97 from 100 images. About 10 s.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from dpseval.statistics.intervals import bootstrap_intervals

BLOCK = 1000


def main(image_count: int = 100, repetition_count: int = 20_000) -> None:
    """Print the coverage for each distribution."""
    rng = np.random.default_rng(20)
    size = (image_count, BLOCK)
    distributions = {
        "normal": (lambda: rng.normal(28, 3, size), 28.0),
        "uniform": (lambda: rng.uniform(0, 1, size), 0.5),
        "exponential": (lambda: rng.exponential(1, size), 1.0),
        "gamma 0.3": (lambda: rng.gamma(0.3, size=size), 0.3),
        "log-normal 0.5": (lambda: rng.lognormal(0, 0.5, size), math.exp(0.125)),
        "log-normal 1": (lambda: rng.lognormal(0, 1, size), math.exp(0.5)),
        "beta 9, 1": (lambda: rng.beta(9, 1, size), 0.9),
        "t, 3 degrees": (lambda: rng.standard_t(3, size), 0.0),
        "t, 5 degrees": (lambda: rng.standard_t(5, size), 0.0),
        "a tenth zeros": (lambda: np.where(rng.random(size) < 0.1, 0.0, rng.beta(4, 2, size)), 0.6),
        "0 or 1, even": (lambda: (rng.random(size) < 0.5).astype(float), 0.5),
        "0 or 1, one in ten": (lambda: (rng.random(size) < 0.1).astype(float), 0.1),
    }
    for name, (draw, mean) in distributions.items():
        held = 0
        for _ in range(repetition_count // BLOCK):
            low, high = bootstrap_intervals(draw(), 0, "coverage", count=1000)
            held += int(np.count_nonzero((low <= mean) & (mean <= high)))
        print(f"{name:20s} {held / (repetition_count // BLOCK * BLOCK):.4f}", flush=True)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
