"""The page in Debian's Chromium: painted, run, saved, opened again, with nothing but 127.0.0.1 on the line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dpsdata.images.codec import encode_png, read_grey, read_photo
from dpsdata.runtime.command_line import run_app
from models.app.strokes import paint_layer, read_layers
from models.cli import app

pytestmark = pytest.mark.slow


def noise_png(height: int = 240, width: int = 320) -> bytes:
    return encode_png(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_paint_undo_live_save_reload_and_open_again(
    open_tab: Callable[..., Any], weights: Path, tmp_path: Path
) -> None:
    tab = open_tab()
    tab.open("me.png", noise_png())
    tab.drag([(0.4, 0.4), (0.55, 0.45), (0.6, 0.6)])
    painted = tab.steps("mask")
    assert tab.steps("sketch") == []
    tab.page.keyboard.press("n")
    tab.drag([(0.42, 0.42), (0.5, 0.5), (0.58, 0.55)])
    drawn = tab.drawing()
    assert (tab.steps("mask"), len(tab.steps("sketch"))) == (painted, 1)
    tab.page.keyboard.press("Control+z")
    assert tab.steps("sketch") == []
    tab.page.keyboard.press("Control+z")
    assert tab.steps("mask") == []
    tab.page.keyboard.press("Control+y")
    tab.page.keyboard.press("Control+Shift+z")
    assert tab.drawing() == drawn
    tab.wait_levels()
    assert tab.page.locator("#levels button:not(.old)").count() == 5

    layers = read_layers(drawn)
    for role, steps in (("mask", layers.mask), ("sketch", layers.sketch)):
        data = tab.save(role)
        (tmp_path / f"{role}.png").write_bytes(data)
        marks = paint_layer(steps, 240, 320, {}) == 1
        assert np.array_equal(read_grey(data) > 127, marks if role == "mask" else ~marks)
    tab.slide(0.3)
    saved = tab.save("png")
    packed = tab.save("zip")
    assert read_photo(tab.save("jpeg")).shape == (240, 320, 3)
    (tmp_path / "me.png").write_bytes(noise_png())
    words = [f"{tmp_path}/me.png", "--mask", f"{tmp_path}/mask.png", "--sketch", f"{tmp_path}/sketch.png"]
    words += ["--weights", str(weights), "--box", "40,0,240,240", "--levels", "0.3", "-o", str(tmp_path / "cli")]
    assert run_app(app, ["edit", *words, "--blend", "poisson", "--grain"]) == 0
    assert (tmp_path / "cli" / "l0.3.png").read_bytes() == saved
    tab.page.check("#exact")
    tab.wait_result()
    exact = tab.save("png")
    assert run_app(app, ["edit", *words]) == 0
    assert (tmp_path / "cli" / "l0.3.png").read_bytes() == exact != saved
    tab.page.uncheck("#exact")
    tab.wait_result()

    tab.page.wait_for_function("dps.isDirty === false")
    tab.load()
    tab.page.click("#resume")
    tab.page.wait_for_selector("#stage.open")
    tab.wait_result()
    assert tab.drawing() == drawn
    assert tab.save("png") == saved
    tab.open("edit.zip", packed)
    tab.wait_result()
    assert tab.save("png") == saved


def test_mirror_bucket_eraser_history_and_going_on(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    tab.open("a.png", noise_png(256, 256))
    tab.drag([(0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6), (0.4, 0.4)])
    outline = paint_layer(read_layers(tab.drawing()).mask, 256, 256, {}).sum()
    tab.page.keyboard.press("g")
    tab.page.mouse.click(*tab.spot(0.5, 0.5))
    tab.page.wait_for_function("dps.surface.drawing.entries.length === 2")
    filled = paint_layer(read_layers(tab.drawing()).mask, 256, 256, {}).sum()
    assert filled > outline
    tab.page.mouse.click(*tab.spot(0.05, 0.05))
    tab.page.wait_for_selector("#message .error")
    assert "not closed" in tab.page.inner_text("#message")
    tab.page.keyboard.press("b")
    tab.drag([(0.4, 0.5), (0.5, 0.5)], button="right")
    assert paint_layer(read_layers(tab.drawing()).mask, 256, 256, {}).sum() < filled
    tab.page.check("#mirror")
    tab.page.keyboard.press("n")
    tab.drag([(0.42, 0.42), (0.45, 0.5)])
    one, two = (step["points"] for step in tab.steps("sketch"))
    axis = tab.page.evaluate("dps.surface.axis")
    assert [2 * axis - x for x in one[::2]] == pytest.approx(two[::2])
    tab.wait_result()
    before = tab.drawing()
    tab.page.click("[data-do=undo]")
    assert tab.steps("sketch") == []
    drawn = (
        "dps.results.history.slice().reverse().findIndex((one) => one.entries.some(({ role }) => role === 'sketch'))"
    )
    tab.page.evaluate(f"document.querySelectorAll('#history button')[{drawn}].click()")
    tab.page.wait_for_function("dps.surface.drawing.steps('sketch').length === 2")
    assert tab.drawing() == before
    tab.wait_result()
    result = tab.save("png")
    tab.page.click("#go-on")
    tab.page.wait_for_function("dps.source.name === 'a-edited.png'")
    tab.page.wait_for_function("dps.surface.drawing.entries.length === 0")
    tab.page.keyboard.press("b")
    tab.drag([(0.3, 0.3), (0.32, 0.32)])
    tab.wait_result()
    hole = paint_layer(read_layers(tab.drawing()).mask, 256, 256, {}) == 1
    again = read_photo(tab.save("png"))
    assert np.array_equal(again[~hole], read_photo(result)[~hole])


def test_own_lines_keys_alone_and_a_server_that_was_killed(open_tab: Callable[..., Any], served: Any) -> None:
    tab = open_tab()
    tab.page.click("#sample")
    tab.page.wait_for_selector("#stage.open")
    tab.page.locator("#canvas").focus()
    for key in ("Enter", *["ArrowRight"] * 6, "Enter"):
        tab.page.keyboard.press(key)
    tab.page.wait_for_function("dps.surface.drawing.steps('mask').length === 1")
    tab.wait_result()
    tab.page.click("#lines")
    tab.page.wait_for_function("dps.surface.drawing.steps('sketch').length === 1")
    tab.wait_result()
    hole, lines = read_grey(tab.save("mask")) > 127, read_grey(tab.save("sketch")) < 128
    assert lines.any()
    assert not (lines & ~hole).any()
    tab.wait_levels()
    drawn = tab.drawing()
    result = tab.save("png")
    served.stop()
    tab.page.locator("#level").fill("0.66")
    tab.page.wait_for_selector("#message .error")
    assert "Your drawing is kept here" in tab.page.inner_text("#message")
    served.start()
    tab.page.wait_for_function("document.body.dataset.shown === dps.key() && dps.surface.result")
    assert tab.drawing() == drawn
    tab.slide(0.5)
    assert tab.save("png") == result
    tab.complaints = [line for line in tab.complaints if "ERR_" not in line and "409" not in line]


def test_other_methods_have_one_result_and_say_so(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    tab.open("me.png", noise_png())
    tab.drag([(0.4, 0.4), (0.6, 0.5)])
    tab.wait_levels()
    first = tab.save("png")
    tab.page.select_option("#method", "SC-FEGAN, no level")
    tab.wait_result()
    result = tab.save("png")
    assert result != first
    assert tab.page.locator("#levels button").count() == 0
    tab.page.click("[data-save=zip]")
    tab.page.wait_for_selector("#message .error")
    assert "Save this result as PNG or JPEG" in tab.page.inner_text("#message")
    tab.complaints.clear()
    tab.page.click("#others")
    tab.page.wait_for_function("document.querySelectorAll('#baselines button').length === dps.methods.length")
    tab.page.select_option("#method", "Deep Plastic Surgery")
    tab.wait_result()
    assert tab.save("png") == first


def test_wrong_files_five_files_and_a_turned_photo_on_a_phone(open_tab: Callable[..., Any]) -> None:
    tab = open_tab(width=390, height=844, has_touch=True, color_scheme="dark")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    small = tab.page.evaluate(
        "[...document.querySelectorAll('button, select')].filter((one) => one.offsetParent)"
        ".map((one) => one.getBoundingClientRect()).filter((box) => box.width < 40 || box.height < 40).length"
    )
    assert small == 0
    tab.page.set_input_files("#file", {"name": "diary.txt", "mimeType": "text/plain", "buffer": b"dear diary"})
    tab.page.wait_for_selector("#message .error")
    assert "diary.txt" in tab.page.inner_text("#message")
    assert "Choose a JPEG or PNG photo." in tab.page.inner_text("#message")
    tab.complaints.clear()
    slope = np.add.outer(np.arange(1200), np.arange(900)) // 9
    stored = np.stack([slope, slope[::-1], slope[:, ::-1]], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    packed = io.BytesIO()
    Image.fromarray(stored).save(packed, "JPEG", exif=exif, quality=90)
    files = [{"name": f"{i}.jpg", "mimeType": "image/jpeg", "buffer": packed.getvalue()} for i in range(5)]
    tab.page.set_input_files("#file", files)
    tab.page.wait_for_selector("#stage.open")
    tab.page.wait_for_function("document.getElementById('message').innerText.includes('5 files came')")
    tab.drag([(0.5, 0.5), (0.55, 0.55)])
    tab.wait_result()
    upright, result = read_photo(packed.getvalue()), read_photo(tab.save("png"))
    assert upright.shape == result.shape == (900, 1200, 3)
    known = paint_layer(read_layers(tab.drawing()).mask, 900, 1200, {}) == 0
    assert np.array_equal(result[known], upright[known])
    assert not np.array_equal(result, upright)
