"""Whole journeys in Chromium: by mouse, by touch, by keys alone; for axe-core; and what goes wrong on the way."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dpsdata.images.codec import encode_png, read_grey, read_photo
from dpsdata.samples import read_sample_face
from models.app.strokes import paint_layer, read_layers

pytestmark = pytest.mark.slow
MOUSE: dict[str, Any] = {}
TOUCH: dict[str, Any] = {"width": 390, "height": 844, "has_touch": True, "is_mobile": True}
LOOKS: list[dict[str, Any]] = [{"width": 1440, "height": 900}, TOUCH, {"color_scheme": "dark"}]


def touch(tab: Any, spots: list[tuple[float, float]]) -> None:
    """One finger, from spot to spot, and up again."""
    line = tab.context.new_cdp_session(tab.page)
    for kind, spot in (("touchStart", spots[0]), *(("touchMove", spot) for spot in spots[1:]), ("touchEnd", None)):
        x, y = tab.spot(*spot) if spot else (0, 0)
        line.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}] if spot else []})
    line.detach()
    tab.page.wait_for_timeout(600)  # a tap sooner than this belongs to the gesture before, and is no click


def draw(tab: Any, tool: str, spots: list[tuple[float, float]], is_touch: bool) -> None:
    press = tab.page.tap if is_touch else tab.page.click
    press(f"[data-tool={tool}]")
    tab.page.wait_for_selector(f"[data-tool={tool}][aria-pressed=true]")  # a tap becomes a click a moment later
    count = tab.page.evaluate("dps.surface.drawing.entries.length")
    tab.page.locator("#canvas").scroll_into_view_if_needed()
    if is_touch:
        touch(tab, spots)
    else:
        tab.drag(spots)
    tab.page.wait_for_function(f"dps.surface.drawing.entries.length === {count + 1}")


@pytest.mark.parametrize("options", [MOUSE, TOUCH], ids=["mouse", "touch"])
def test_a_journey_with_a_pointer(open_tab: Callable[..., Any], options: dict[str, Any]) -> None:
    tab, is_touch = open_tab(**options), bool(options)
    press = tab.page.tap if is_touch else tab.page.click
    press("#sample")
    tab.page.wait_for_selector("#stage.open")
    draw(tab, "mask", [(0.3, 0.62), (0.5, 0.66), (0.7, 0.62)], is_touch)
    tab.wait_result()
    press("#lines")
    tab.page.wait_for_function("dps.surface.drawing.steps('sketch').length === 1")
    draw(tab, "erase", [(0.35, 0.62), (0.45, 0.64)], is_touch)
    draw(tab, "erase", [(0.55, 0.64), (0.65, 0.62)], is_touch)
    for _ in range(4):  # where the machine is busy, Chromium counts a tap to the gesture before; a person taps again
        press("#mirror")
        tab.page.wait_for_timeout(3000)
        if tab.page.evaluate("Boolean(dps.surface.mirror)"):
            break
    assert tab.page.evaluate("Boolean(dps.surface.mirror)")
    draw(tab, "sketch", [(0.42, 0.63), (0.46, 0.66)], is_touch)
    assert [step.get("erase") for step in tab.steps("sketch")] == [None, True, True, False, False]
    tab.wait_result()
    tab.wait_levels()
    press("[data-level='0.75']")
    tab.wait_result()
    press("[data-do=compare]")
    assert tab.page.get_attribute("[data-do=compare]", "aria-pressed") == "true"
    result, drawn = tab.save("png"), tab.drawing()
    tab.page.wait_for_function("dps.isDirty === false")
    tab.load()
    press("#resume")
    tab.page.wait_for_selector("#stage.open")
    tab.wait_result()
    assert (tab.drawing(), tab.save("png")) == (drawn, result)
    press("#go-on")
    tab.page.wait_for_function("dps.surface.drawing.entries.length === 0")
    assert np.array_equal(read_photo(tab.save_photo()), read_photo(result))


def test_a_journey_by_keys_alone(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    page = tab.page

    def reach(selector: str) -> None:
        for _ in range(80):
            if page.evaluate("(one) => document.activeElement.matches(one)", selector):
                return
            page.keyboard.press("Tab")
        pytest.fail(f"{selector} is not reached by Tab")

    def line(tool: str, *keys: str) -> None:
        reach("#canvas")
        for key in (tool, "Enter", *keys, "Enter"):
            page.keyboard.press(key)

    reach("#sample")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage.open")
    line("b", *["Shift+ArrowRight"] * 3, *["Shift+ArrowDown"] * 2)
    tab.wait_result()
    reach("#lines")
    page.keyboard.press("Enter")
    page.wait_for_function("dps.surface.drawing.steps('sketch').length === 1")
    line("e", *["ArrowLeft"] * 3)
    line("e", *["ArrowUp"] * 3)
    page.keyboard.press("m")
    line("n", *["ArrowLeft"] * 6)
    page.wait_for_function("dps.surface.drawing.steps('sketch').length === 5")
    page.keyboard.press("c")
    tab.wait_levels()
    reach("[data-level='0.75']")
    page.keyboard.press("Enter")
    tab.wait_result()
    reach("#level")
    page.keyboard.press("ArrowRight")
    tab.wait_result()
    assert page.evaluate("dps.level") == 0.76
    reach("[data-save=png]")
    with page.expect_download() as caught:
        page.keyboard.press("Enter")
    result, drawn = Path(caught.value.path()).read_bytes(), tab.drawing()
    page.wait_for_function("dps.isDirty === false")
    tab.load()
    reach("#resume")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage.open")
    tab.wait_result()
    assert tab.drawing() == drawn
    reach("#go-on")
    page.keyboard.press("Enter")
    page.wait_for_function("dps.surface.drawing.entries.length === 0")
    assert np.array_equal(read_photo(tab.save_photo()), read_photo(result))


@pytest.mark.parametrize("look", LOOKS, ids=["wide", "phone", "dark"])
def test_axe_finds_nothing_serious(open_tab: Callable[..., Any], look: dict[str, Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    tab = open_tab(**look)
    tab.page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))

    def check() -> None:
        found = tab.page.evaluate("axe.run()")["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []

    check()
    tab.page.click("#sample")
    tab.page.wait_for_selector("#stage.open")
    tab.page.evaluate("""async () => {
      const step = { kind: "stroke", erase: false, width: 60, points: [200, 300, 320, 320] };
      await dps.surface.drawing.add({ role: "mask", steps: [step] });
      dps.changed();
    }""")
    tab.wait_levels()
    check()
    tab.page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no photo"})
    tab.page.wait_for_selector("#message .error")
    check()
    tab.complaints.clear()


def drop(tab: Any, files: list[tuple[str, bytes]]) -> None:
    listed = [[name, base64.b64encode(data).decode()] for name, data in files]
    tab.page.evaluate(
        """(files) => {
          const given = new DataTransfer();
          for (const [name, data] of files) given.items.add(new File([Uint8Array.from(atob(data), (one) => one.charCodeAt(0))], name));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
        }""",  # noqa: E501
        listed,
    )


def test_five_files_are_dropped_and_one_is_opened(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    photo = encode_png(read_sample_face(1)[::2, ::2])
    drop(tab, [(f"{name}.png", photo) for name in ("first", "second", "third", "fourth", "fifth")])
    tab.page.wait_for_selector("#stage.open")
    tab.page.wait_for_function("document.getElementById('message').innerText.includes('5 files came')")
    assert "first.png is open" in tab.page.inner_text("#message")
    tab.drag([(0.4, 0.4), (0.6, 0.5)])
    tab.wait_result()
    drawn = tab.drawing()
    drop(tab, [("diary.txt", b"dear diary")])
    tab.page.wait_for_selector("#message .error")
    assert tab.drawing() == drawn, "what was open stays"
    tab.complaints.clear()


def test_ten_wrong_things_of_a_new_user(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    photo = encode_png(read_sample_face(1)[::2, ::2])
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("holiday.txt", "sun")
    tab.page.click("#lines")  # before any photo
    tab.page.wait_for_selector("#message .error")
    assert "Choose a photo first" in tab.page.inner_text("#message")
    tab.open("me.png", photo)
    tab.page.click("#lines")  # before any hole
    tab.page.wait_for_selector("#message .error")
    assert "The hole is empty" in tab.page.inner_text("#message")
    tab.drag([(0.4, 0.4), (0.6, 0.5)])
    tab.wait_result()
    drawn = tab.drawing()
    for name, data, told in (
        ("diary.txt", b"dear diary", "diary.txt"),
        ("empty.jpg", b"", "empty.jpg"),
        ("half.png", photo[: len(photo) // 2], "half.png"),
        ("huge.png", photo[:16] + (60_000).to_bytes(4, "big") * 2 + photo[24:], "huge.png"),
        ("holiday.zip", other.getvalue(), "run.json"),
        ("broken.zip", b"PK" + bytes(40), "zip"),
        ("run.json", b"{}", "run.json"),
        ("mask.png", encode_png(np.zeros((64, 64), np.uint8)), "64"),
    ):
        tab.page.evaluate("document.getElementById('message').replaceChildren()")
        drop(tab, [(name, data)])
        tab.page.wait_for_selector("#message .error")
        assert told in tab.page.inner_text("#message"), name
        assert tab.drawing() == drawn, f"{name}: what was open stays"
    assert read_photo(tab.save("png")).shape == (256, 256, 3)
    assert [line for line in tab.complaints if "status of 4" not in line] == []
    tab.complaints.clear()


def test_a_phone_photo_of_12_megapixels_that_lies_on_its_side(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    face = Image.fromarray(read_sample_face(1)).resize((3024, 4032), Image.Resampling.BICUBIC)
    exif, packed = Image.Exif(), io.BytesIO()
    exif[274] = 6
    face.transpose(Image.Transpose.ROTATE_90).save(packed, "JPEG", exif=exif, quality=90)
    tab.open("IMG_0001.JPG", packed.getvalue())
    assert tab.page.evaluate("[dps.surface.drawing.width, dps.surface.drawing.height]") == [3024, 4032]
    tab.drag([(0.4, 0.5), (0.6, 0.55)])
    tab.wait_result()
    upright, result = read_photo(packed.getvalue()), read_photo(tab.save("png"))
    known = paint_layer(read_layers(tab.drawing()).mask, 4032, 3024, {}) == 0
    assert np.array_equal(result[known], upright[known])
    assert not np.array_equal(result, upright)


def test_a_heic_photo(open_tab: Callable[..., Any]) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
    packed = io.BytesIO()
    heif.from_pillow(Image.fromarray(read_sample_face(1))).save(packed, quality=90)
    tab = open_tab()
    tab.open("IMG_0002.HEIC", packed.getvalue())
    tab.drag([(0.4, 0.5), (0.6, 0.55)])
    tab.wait_result()
    assert read_photo(tab.save("png")).shape == (512, 512, 3)


def test_a_server_that_is_killed_while_painting(open_tab: Callable[..., Any], served: Any) -> None:
    tab = open_tab()
    tab.open("me.png", encode_png(read_sample_face(1)[::2, ::2]))
    tab.drag([(0.4, 0.4), (0.5, 0.45)])
    tab.wait_result()
    # The answer is cut off: the process went while it painted.
    tab.page.route("**/api/run", lambda route: route.abort("connectionreset"))
    tab.drag([(0.5, 0.5), (0.6, 0.55)])
    tab.page.wait_for_selector("#message .error")
    assert "Your drawing is kept here" in tab.page.inner_text("#message")
    served.stop()
    tab.drag([(0.4, 0.6), (0.5, 0.6)])
    drawn = tab.drawing()
    assert len(tab.steps("mask")) == 3
    tab.page.unroute("**/api/run")
    served.start()
    tab.page.wait_for_function("document.body.dataset.shown === dps.key() && dps.surface.result")
    assert tab.drawing() == drawn
    assert read_grey(tab.save("mask")).any()
    tab.complaints = [line for line in tab.complaints if "ERR_" not in line and "409" not in line]
