"""The names that scripts use: `Editor.from_pretrained`, `.to`, and the lists of methods and weights."""

from __future__ import annotations

import numpy as np
import pytest

import dpsdata.weights
import models
from dpsdata.contracts import UsageError
from models.methods.registry import METHODS


def test_an_editor_by_name_equals_the_function() -> None:
    editor, other = models.Editor.from_pretrained("bundled"), models.load_editor("bundled")
    size = editor.resolution
    photo = np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)
    mask = np.zeros((size, size), np.uint8)
    mask[40:90, 40:90] = 255
    sketch = np.full((size, size), 255, np.uint8)
    sketch[60, 45:85] = 0
    results = [item.predict(photo, sketch, mask, [0.0, 1.0], "none") for item in (editor, other)]
    for one, two in zip(*results, strict=True):
        assert np.array_equal(one.photo, two.photo)
    assert editor.to("cpu") is editor
    assert np.array_equal(editor.predict_levels(sketch, mask, [1.0])[0].photo, results[0][1].photo)
    with pytest.raises(UsageError, match="device"):
        editor.to("abacus")


def test_methods_and_weights_are_listed() -> None:
    assert set(METHODS) <= set(models.list_methods())
    assert "dps-edit-f256" in {file.name for file in dpsdata.weights.list_weights()}
