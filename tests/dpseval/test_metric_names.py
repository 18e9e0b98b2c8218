from __future__ import annotations

import subprocess
import sys

from dpseval.metrics.names import METRICS, REGION_NAMES, SPACES
from dpseval.metrics.regions import REGIONS


def test_names_regions_and_ranges_agree() -> None:
    assert REGION_NAMES == REGIONS
    for name, metric in METRICS.items():
        assert metric.name == name
        assert set(metric.regions) <= set(REGION_NAMES)
        assert metric.lowest < metric.highest
        assert metric.arrow == {True: "↑", False: "↓", None: ""}[metric.higher_is_better]
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)
    of_sets = {name for name, metric in METRICS.items() if metric.kind == "set"}
    of_faces = {"id_p5", "id_share", "id_impostor"}
    assert of_sets == {"fd_hed", "kd_hed"} | of_faces | {name for names in SPACES.values() for name in names}
    neither = {name for name, metric in METRICS.items() if metric.higher_is_better is None}
    assert neither == {"edge_density", "id_impostor"}


def test_the_table_imports_nothing_heavy() -> None:
    code = (
        "import sys, dpseval.metrics.names; print([m for m in ('numpy', 'pandas', 'torch', 'cv2') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
