// What each button, key, drop and paste does.

import { COLOURS } from "./canvas.js";
import { dropDraft } from "./drafts.js";
import { all, part } from "./parts.js";

/** @param {any} page @param {any} tool */
export function setTool(page, tool) {
  page.surface.take(tool);
  const { role, colours } = page.surface;
  all("[data-tool]").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.tool === tool)));
  part("size").value = String(page.surface.size);
  part("colour").replaceChildren(...Object.keys(COLOURS[role]).map((name) => new Option(name)));
  part("colour").value = colours[role];
}

/** @param {any} page @param {string} name */
function act(page, name) {
  const { surface } = page;
  if (name === "undo" || name === "redo") {
    if (surface.drawing[name]()) page.changed();
  } else if (name === "clear" || name === "invert") {
    const role = name === "invert" ? "mask" : surface.role;
    if (page.source) surface.drawing.add({ role, steps: [{ kind: name }] }).then(() => page.changed());
  } else if (name === "in" || name === "out") surface.zoom(name === "in" ? 1.25 : 0.8);
  else if (name === "fit") surface.fit();
  else if (name === "compare") {
    surface.compare = !surface.compare;
    /** @type {HTMLElement} */ (document.querySelector("[data-do=compare]")).setAttribute("aria-pressed", String(surface.compare));
    surface.draw();
  }
}

/** @param {any} page @param {KeyboardEvent} event */
function pressed(page, event) {
  const target = /** @type {HTMLElement} */ (event.target), { surface } = page;
  const isField = target.matches("select, input:not([type=checkbox]):not([type=range]):not([type=file])");
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" || key === "y") act(page, key === "y" || event.shiftKey ? "redo" : "undo");
    else if (key === "c" && surface.result && !String(getSelection())) page.copy();
    else return;
    event.preventDefault();
    return;
  }
  if (isField || event.altKey) return;
  const tools = { b: "mask", n: "sketch", e: "erase", g: "fill", f: "face" };
  const steps = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
  const onCanvas = target === surface.canvas;
  if (key in tools) setTool(page, tools[/** @type {keyof typeof tools} */ (key)]);
  else if (key === "[" || key === "]") {
    surface.size += key === "]" ? 5 : -5;
    part("size").value = String(surface.size);
  } else if (key === "c") act(page, "compare");
  else if (key === "o") { surface.showsOriginal = true; surface.draw(); }
  else if (key === "m") part("mirror").click();
  else if (key === "+" || key === "=") act(page, "in");
  else if (key === "-") act(page, "out");
  else if (key === "0") act(page, "fit");
  else if (onCanvas && key in steps) {
    const [dx, dy] = steps[/** @type {keyof typeof steps} */ (key)], far = event.shiftKey ? 40 : 8;
    surface.nudge(dx * far, dy * far);
  } else if (onCanvas && key === "enter") surface.press();
  else if (onCanvas && key === " ") { surface.space = true; surface.draw(); }
  else return;
  event.preventDefault();
}

/** Hand every button, key and file to the page. @param {any} page */
export function connect(page) {
  for (const one of all("[data-tool]")) one.onclick = () => setTool(page, one.dataset.tool);
  for (const one of all("[data-do]")) one.onclick = () => act(page, /** @type {string} */ (one.dataset.do));
  for (const one of all("[data-save]")) one.onclick = () => page.save(/** @type {string} */ (one.dataset.save));
  for (const one of all("[data-open]")) {
    one.onclick = () => {
      const input = Object.assign(document.createElement("input"), { type: "file", multiple: one.dataset.open === "photo" });
      input.onchange = () => {
        const files = [...(input.files || [])];
        if (one.dataset.open === "photo") page.take(files);
        else if (files.length) page.addLayer(/** @type {any} */ (one.dataset.open), files[0]);
      };
      input.click();
    };
  }
  part("file").onchange = () => { page.take([...part("file").files]); };
  part("sample").onclick = () => page.open(() => page.engine.openSample(), null, "sample.png");
  part("resume").onclick = () => page.resume();
  part("lines").onclick = () => page.ownLines();
  part("go-on").onclick = () => page.goOn();
  part("copy").onclick = () => page.copy();
  part("others").onclick = () => page.results.showBaselines();
  part("method").onchange = () => page.setMethod(part("method").value);
  part("exact").onchange = () => page.changed();
  part("level").oninput = () => page.setLevel(Number(part("level").value), true);
  part("size").oninput = () => { page.surface.size = Number(part("size").value); };
  part("colour").onchange = () => { page.surface.colours[page.surface.role] = part("colour").value; page.surface.draw(); };
  part("mirror").onchange = () => { page.surface.mirror = part("mirror").checked; page.surface.draw(); };
  part("smooth").onchange = () => { page.surface.smooth = part("smooth").checked; };
  part("keep").onchange = () => { if (part("keep").checked) page.keep(); else dropDraft(); };
  document.addEventListener("keydown", (event) => pressed(page, event));
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") page.surface.space = false;
    if (event.key.toLowerCase() === "o") { page.surface.showsOriginal = false; page.surface.draw(); }
  });
  document.addEventListener("dragover", (event) => { event.preventDefault(); part("stage").classList.add("drop"); });
  document.addEventListener("dragleave", () => part("stage").classList.remove("drop"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    part("stage").classList.remove("drop");
    page.take([...(event.dataTransfer?.files || [])]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length) page.take(files);
  });
  window.addEventListener("beforeunload", (event) => {
    if (page.isDirty && page.surface.drawing.entries.length) event.preventDefault();
  });
  setTool(page, "mask");
}
