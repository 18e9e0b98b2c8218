"""The page of `dps app`: Gradio carries events and files, the two editors are canvases of our own (see canvas.js)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module, resources
from typing import Any

from models.app import fragments
from models.app.events import PageEvents, SessionSeed
from models.app.method_words import name_button
from models.methods.registry import METHODS

_ATTACH = "window.dps.attach(element)"
_PICK = """element.addEventListener('click', (event) => {
  const picked = event.target.closest('[data-level]');
  if (!picked) return;
  const range = document.querySelector('#dps-level input[type=range]');
  if (!range) return;
  range.value = picked.dataset.level;
  range.dispatchEvent(new Event('input', { bubbles: true }));
  range.dispatchEvent(new Event('change', { bubbles: true }));
});"""
_SLIDE = """element.addEventListener('change', (event) => {
  if (event.target.matches('input[type=range]')) trigger('select');
});"""


def page_assets() -> tuple[str, str]:
    """What goes into the head of the page: its script and its style, nothing from elsewhere."""
    files = resources.files("models.app")
    script = "".join((files / name).read_text(encoding="utf-8") for name in ("canvas.js", "board.js"))
    return f"<script>(() => {{\n'use strict';\n{script}}})();</script>", (files / "style.css").read_text(
        encoding="utf-8"
    )


def plain_theme() -> Any:
    """A theme whose fonts are those of the system, so that no font is fetched."""
    gr: Any = import_module("gradio")
    return gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )


def build_missing_page(reason: str) -> Any:
    """The page where there are no weights.

    Args:
        reason: what was looked for.
    """
    gr: Any = import_module("gradio")
    with gr.Blocks(title="Deep Plastic Surgery", analytics_enabled=False) as page:
        gr.HTML(fragments.HEAD)
        gr.HTML(fragments.show_missing(reason))
    return page


class EditPage:
    """The parts of the page, and which of them causes what.

    Args:
        events: what happens.
    """

    def __init__(self, events: PageEvents) -> None:
        self.events = events
        self.gr: Any = import_module("gradio")

    def build(self) -> Any:
        """The page, to be launched."""
        gr = self.gr
        with gr.Blocks(title="Deep Plastic Surgery", analytics_enabled=False, delete_cache=(600, 3600)) as page:
            self.session = gr.State()
            # Copied for each tab at its first press: an event of loading comes too late for a quick hand.
            self.session.value = SessionSeed(self.events.new_session)
            self.drawing = gr.Textbox(visible=False)
            self.opened, self.layer = gr.JSON(visible=False), gr.JSON(visible=False)
            self.download = gr.File(visible=False)
            gr.HTML(fragments.HEAD)
            self._build_inputs()
            self._build_results()
            self.status = gr.HTML(fragments.show_notes(()), elem_id="dps-status")
            self._connect(page)
        return page

    def _build_inputs(self) -> None:
        gr = self.gr
        gr.HTML(fragments.step_head("1  Choose a photo", "A saved edit is its zip, or all the files of its folder."))
        with gr.Row(equal_height=True):
            with gr.Column(scale=3, min_width=300):
                self.photo = gr.File(label="Photo", show_label=False, height=104, elem_id="dps-photo")
            with gr.Column(scale=2, min_width=300):
                self.sample = gr.Button("Take the sample photo", elem_id="dps-sample")
                self.edit = gr.UploadButton("Open a saved edit", file_count="multiple", elem_id="dps-open")
                self.method = gr.Dropdown(
                    self.events.methods,
                    value=self.events.methods[0],
                    label="Method",
                    filterable=False,
                    visible=len(self.events.methods) > 1,
                    elem_id="dps-method",
                )
        with gr.Row():
            self.layers = {
                role: self._build_editor(role, title, hint)
                for role, title, hint in (
                    (
                        "mask",
                        "2  Paint the hole",
                        "Only this can change. The dashed square goes over the face.",
                    ),
                    ("sketch", "3  Draw the line", "A thin line in the hole shows what should be there."),
                )
            }
        self.show = gr.Button(name_button(METHODS["dps"]), variant="primary", size="lg", elem_id="dps-show")

    def _build_editor(self, role: str, title: str, hint: str) -> tuple[Any, Any]:
        gr = self.gr
        with gr.Column(min_width=320):
            gr.HTML(fragments.step_head(title, hint))
            gr.HTML(f'<div data-layer="{role}"></div>', js_on_load=_ATTACH, elem_id=f"dps-{role}")
            with gr.Row():
                upload = gr.UploadButton(f"Upload {role}.png", size="sm", min_width=120, elem_id=f"dps-{role}-upload")
                get = gr.Button(f"Download {role}.png", size="sm", min_width=120, elem_id=f"dps-{role}-get")
        return upload, get

    def _build_results(self) -> None:
        gr = self.gr
        with gr.Column(visible=False, elem_classes=["dps-results"]) as self.results:
            self.head = gr.HTML(fragments.choice_head(METHODS["dps"]))
            self.strip = gr.HTML(js_on_load=_PICK, elem_id="dps-strip")
            self.slider = gr.HTML(fragments.show_slider(METHODS["dps"], 0.5), js_on_load=_SLIDE, elem_id="dps-level")
            self.result = gr.HTML(elem_id="dps-result", js_on_load=None)
            self.refined = gr.Checkbox(label="Show the refined sketch too", value=False, elem_id="dps-refined")
            with gr.Row():
                self.save_photo = gr.Button("Save full-size PNG", variant="primary", elem_id="dps-save-photo")
                self.save_edit = gr.Button("Save edit (zip)", elem_id="dps-save-edit")

    def _connect(self, page: Any) -> None:
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        events = self.events
        opened = [self.status, self.opened, self.results, self.slider]
        show = {"fn": None, "inputs": self.opened, "js": "(opened) => window.dps.open(opened)"}
        self.photo.upload(events.open_photo, [self.session, self.photo], [*opened, self.photo], **quiet).then(**show)
        self.edit.upload(events.open_edit, [self.session, self.edit], opened, **quiet).then(**show)
        self.sample.click(events.open_sample, self.session, opened, **quiet).then(**show)
        for role, (upload, get) in self.layers.items():
            upload.upload(
                partial(events.add_layer, role), [self.session, upload], [self.status, self.layer], **quiet
            ).then(fn=None, inputs=self.layer, js="(layer) => window.dps.put(layer)")
            self._save(get, partial(events.save_layer, role), quiet)
        self._save(self.save_photo, events.save_photo, quiet)
        self._save(self.save_edit, events.save_edit, quiet)
        self.method.change(
            events.choose_method,
            [self.session, self.method],
            [self.status, self.results, self.head, self.slider, self.refined, self.show],
            **quiet,
        )
        self.show.click(
            events.show_levels,
            [self.session, self.drawing, self.refined, self.method],
            [self.status, self.results, self.strip, self.slider, self.result, self.show],
            js="(session, drawing, refined, method) => [session, window.dps.start(), refined, method]",
            **quiet,
        )
        for event in (self.slider.select, self.refined.change):
            event(
                events.show_level,
                [self.session, self.drawing, self.refined],
                [self.status, self.result],
                js="(session, drawing, refined) => [session, String(window.dps.level()), refined]",
                trigger_mode="always_last",
                **quiet,
            )

    def _save(self, button: Any, handler: Callable[..., Any], quiet: dict[str, Any]) -> None:
        button.click(
            handler,
            [self.session, self.drawing],
            [self.status, self.download],
            js="(session, drawing) => [session, window.dps.drawing()]",
            **quiet,
        ).then(fn=None, inputs=self.download, js="(file) => window.dps.save(file)")
