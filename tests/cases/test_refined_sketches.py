"""Refined sketches that other programs made, as scoring reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpseval.pairing.files import MaskSource, OutputFile, PhotoFiles, SetKey
from dpseval.scoring.pixel_workers import measure_photo

SIZE = 256
BOX = np.zeros((SIZE, SIZE), np.bool_)
BOX[60:180, 60:160] = True


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


REFINED = {
    "black on white": (lambda lines: np.where(lines, 0, 255), None),
    "soft": (lambda lines: np.where(lines, 90, 240), None),
    "yellow on white": (lambda lines: np.where(lines[..., None], np.uint8([255, 230, 0]), np.uint8(255)), None),
    "cyan on white": (lambda lines: np.where(lines[..., None], np.uint8([0, 220, 255]), np.uint8(255)), None),
    "white on black": (lambda lines: np.where(lines, 255, 0), "inverted-sketch"),
    "0 on 1": (lambda lines: np.where(lines, 0, 1), "inverted-sketch"),
    "1 on 0": (lambda lines: np.where(lines, 1, 0), "inverted-sketch"),
}


@pytest.mark.parametrize("form", REFINED)
@pytest.mark.parametrize("hole", [BOX, np.ones((SIZE, SIZE), np.bool_)])
def test_a_refined_sketch_of_another_program_is_read_or_said(tmp_path: Path, form: str, hole: np.ndarray) -> None:
    ink = np.zeros((SIZE, SIZE), np.bool_)
    ink[70:72, 20:230], ink[20:200, 90:92] = True, True
    make, kind = REFINED[form]
    truth = save(tmp_path / "truth.png", np.full((SIZE, SIZE, 3), 90))
    key = SetKey("other", None)
    output = OutputFile(key, truth, save(tmp_path / "refined.png", make(ink)))
    found = measure_photo(
        PhotoFiles("a", SIZE, truth, MaskSource("x", 0, packed=np.packbits(hole)), None, False, (output,))
    )
    assert [finding.kind for finding in found.findings] == ([] if kind is None else [kind])
    if kind is None:
        assert np.array_equal(found.outputs[key].refined == 1, ink)
    else:
        assert key not in found.outputs, "left out where it is allowed, and never scored by its ground"
