"""A small build."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpsdata import BuildConfig


@pytest.fixture
def config(faces: Path, tiny_hed: Path, tmp_path: Path) -> BuildConfig:
    return BuildConfig(source=faces, out=tmp_path / "built", size=64, edges=str(tiny_hed), workers=1, levels=(0.0, 0.5))
