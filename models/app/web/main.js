// The page: what each button does, live results, drafts, and messages on the picture.

import { COLOURS, Surface } from "./canvas.js";
import { dropDraft, keepDraft, readDraft } from "./drafts.js";
import { ServerEngine, GoneError, SilentError, fromBase64 } from "./engine.js";

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./engine.js").Patch} Patch */
/** @typedef {{key: string, level: number, method: string, patch: Patch, image: HTMLImageElement}} Result */

const LEVELS = [0, 0.25, 0.5, 0.75, 1];
const MAX_HISTORY = 12;

/** @param {string} id @returns {any} */
const part = (id) => document.getElementById(id);
/** @param {string} query @returns {HTMLElement[]} */
const all = (query) => [...document.querySelectorAll(query)].map((found) => /** @type {HTMLElement} */ (found));

/** @param {string} url */
async function loadImage(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

class Page {
  /** @param {Engine} engine */
  constructor(engine) {
    this.engine = engine;
    this.surface = new Surface(part("canvas"), {
      stroke: () => this.changed(),
      pick: (x, y) => this.try(async () => {
        this.surface.drawing.box = (await this.engine.pickFace(x, y)).box;
        this.changed();
      }),
      say: (text) => this.say([text], true),
      moved: () => this.changed(),
    });
    /** @type {import("./engine.js").Method[]} */ this.methods = [];
    this.level = 0.5;
    this.method = "";
    /** @type {{blob: Blob, name: string, stem: string}|null} */ this.source = null;
    /** @type {Map<string, Result>} */ this.results = new Map();
    /** @type {{entries: any[], box: any, level: number, exact: boolean, result: Result}[]} */ this.history = [];
    this.turn = 0;
    this.errorUntil = 0;
    this.isDirty = false;
    this.connect();
    this.start();
  }

  async start() {
    this.say(["Loading the networks ..."]);
    for (;;) {
      const told = await this.engine.status().catch(() => null);
      if (told && told.state === "ready") {
        this.methods = told.methods || [];
        this.method = this.methods[0].name;
        part("method").replaceChildren(...this.methods.map(({ name }) => new Option(name)));
        part("methods-part").hidden = this.methods.length < 2;
        document.body.dataset.ready = "yes";
        this.say([]);
        break;
      }
      if (told && told.state === "missing") {
        this.showMissing(told.message || "", told.help || []);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    const draft = await readDraft().catch(() => null);
    if (draft && !this.source) part("draft").hidden = false;
  }

  /** @param {string} message @param {string[]} help */
  showMissing(message, help) {
    this.say([]);
    const box = part("welcome");
    const lines = [message, ...help].map((text) => Object.assign(document.createElement("p"), { textContent: text }));
    box.replaceChildren(Object.assign(document.createElement("h2"), { textContent: "There are no weights yet, so nothing can be edited" }), ...lines);
    box.classList.add("missing");
  }

  /** @param {readonly string[]} sentences @param {boolean} [isError] */
  say(sentences, isError = false) {
    // A failure stays long enough to be read, whatever is painted meanwhile; the next act of the person ends it.
    if (!isError && Date.now() < this.errorUntil) return;
    this.errorUntil = isError ? Date.now() + 5000 : 0;
    part("message").replaceChildren(...sentences.map((text) => Object.assign(document.createElement("p"), {
      textContent: text, className: isError ? "error" : "" })));
  }

  /** Run something that may fail; a server that was started again gets the photo and the pictures once more.
   * @template T @param {() => Promise<T>} act @returns {Promise<T|undefined>} */
  async try(act) {
    try {
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof GoneError) || !this.source) throw error;
        await this.reopen();
        return await act();
      }
    } catch (error) {
      const text = error instanceof GoneError ? "Choose a photo first, or use the sample." : String(/** @type {any} */ (error).message || error);
      this.say([text], true);
      if (error instanceof SilentError) this.waitForServer();
      return undefined;
    }
  }

  async reopen() {
    if (!this.source) return;
    await this.engine.openPhoto(this.source.blob, this.source.name);
    for (const role of /** @type {const} */ (["mask", "sketch"])) {
      for (const step of this.surface.drawing.steps(role)) {
        if (step.kind !== "file") continue;
        const blob = await (await fetch(step.url)).blob();
        // The stored picture is white where the layer is painted; a sketch on disk is black on white.
        const file = role === "mask" ? blob : await inverted(blob);
        step.id = (await this.engine.addLayer(role, file, `${role}.png`)).id;
      }
    }
  }

  async waitForServer() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const told = await this.engine.status().catch(() => null);
      if (told && told.state === "ready") break;
    }
    this.isWaiting = false;
    this.say(["The server is back."]);
    if (this.source) this.changed();
  }

  /** @param {() => Promise<import("./engine.js").Opened>} open @param {Blob|null} blob @param {string} name */
  async open(open, blob, name, keep = {}) {
    this.errorUntil = 0;
    this.say(["Opening ..."]);
    const opened = await this.try(open);
    if (!opened) return false;
    this.turn++;
    const file = opened.file ? fromBase64(opened.file) : /** @type {Blob} */ (blob);
    this.source = { blob: file, name: opened.name || name, stem: opened.stem };
    this.results.clear();
    this.surface.open(await loadImage(opened.photo), opened.width, opened.height, opened.box);
    this.setLevel(opened.level);
    part("exact").checked = opened.exact;
    part("marked").checked = opened.marked;
    for (const role of /** @type {const} */ (["mask", "sketch"])) {
      const layer = opened.layers[role];
      if (layer) await this.surface.drawing.add({ role, steps: [{ kind: "file", id: layer.id, url: layer.url }] });
    }
    if (keep.box) this.surface.drawing.box = keep.box;
    part("stage").classList.add("open");
    this.history = [];
    this.showHistory();
    this.changed();
    this.say(opened.notes);
    this.notes = opened.notes;
    part("canvas").focus({ preventScroll: true });
    return true;
  }

  /** @param {File[]} files */
  async take(files) {
    if (!files.length) return;
    const isEdit = files.some(({ name }) => name.toLowerCase().endsWith(".json")) || files[0].name.toLowerCase().endsWith(".zip");
    if (isEdit) {
      await this.open(() => this.engine.openEdit(files), null, "photo");
      return;
    }
    const role = /^(mask|sketch)\b/i.exec(files[0].name);
    if (files.length === 1 && role && this.source) {
      await this.addLayer(/** @type {any} */ (role[1].toLowerCase()), files[0]);
      return;
    }
    const isOpen = await this.open(() => this.engine.openPhoto(files[0], files[0].name), files[0], files[0].name);
    if (isOpen && files.length > 1) this.say([`${files.length} files came; one photo is edited at a time, and ${files[0].name} is open.`, ...(this.notes || [])]);
  }

  /** @param {"mask"|"sketch"} role @param {Blob & {name?: string}} file */
  async addLayer(role, file) {
    const layer = await this.try(() => this.engine.addLayer(role, file, file.name || `${role}.png`));
    if (!layer) return;
    await this.surface.drawing.add({ role, steps: [{ kind: "file", id: layer.id, url: layer.url }] });
    this.changed(layer.notes);
  }

  key(level = this.level, method = this.method) {
    return `${method}|${this.hasLevel(method) ? level : ""}|${this.exact}|${this.surface.drawing.text()}`;
  }

  /** Paste as painted, seam and all. @returns {boolean} */
  get exact() { return part("exact").checked; }

  /** @param {string} method */
  hasLevel(method) { return this.methods.find(({ name }) => name === method)?.hasLevel ?? true; }

  /** The drawing, the level or the method is another one: old results are marked, and a new one is painted. */
  changed(notes = []) {
    this.isDirty = true;
    this.errorUntil = 0;
    const hole = this.surface.drawing.holeBox();
    this.surface.result = null;
    this.say(notes);
    for (const button of all("[data-save=mask], [data-save=sketch]")) /** @type {any} */ (button).disabled = !this.source;
    for (const button of all("[data-save=png], [data-save=jpeg], [data-save=zip], #copy")) /** @type {any} */ (button).disabled = !hole;
    part("go-on").disabled = !hole;
    all(".strip .level").forEach((one) => one.classList.add("old"));
    part("baselines").replaceChildren();
    this.keep();
    if (hole) this.live();
    this.surface.draw();
  }

  keep() {
    clearTimeout(this.keeping);
    if (!part("keep").checked || !this.source) return;
    this.keeping = setTimeout(() => {
      const { drawing } = this.surface;
      keepDraft({ ...this.source, entries: drawing.entries, box: drawing.box, level: this.level, method: this.method, exact: this.exact })
        .then(() => { this.isDirty = false; document.body.dataset.kept = String(drawing.entries.length); })
        .catch(() => this.say(["The draft could not be kept in this browser. Save the edit."], true));
    }, 150);
  }

  async resume() {
    const draft = await readDraft();
    part("draft").hidden = true;
    if (!draft) return;
    const isOpen = await this.open(() => this.engine.openPhoto(draft.blob, draft.name), draft.blob, draft.name);
    if (!isOpen) return;
    await this.surface.drawing.restore(draft.entries);
    this.surface.drawing.box = draft.box;
    if (this.methods.some(({ name }) => name === draft.method)) this.method = part("method").value = draft.method;
    this.setLevel(draft.level);
    part("exact").checked = draft.exact === true;
    await this.try(() => this.reopen());
    this.changed();
  }

  /** Paint the chosen level, then the five; a newer drawing ends it. */
  async live() {
    const turn = ++this.turn;
    const first = await this.result(this.level, this.method, turn);
    if (!first || turn !== this.turn) return;
    this.show(first);
    this.say(first.patch.notes);
    this.remember(first);
    if (!this.hasLevel(this.method)) {
      part("levels").replaceChildren();
      return;
    }
    this.frames();
    for (const level of LEVELS) {
      const found = await this.result(level, this.method, turn);
      if (!found || turn !== this.turn) return;
      this.fillFrame(level, found);
    }
    document.body.dataset.levels = this.key();
  }

  /** @param {number} level @param {string} method @param {number} turn @returns {Promise<Result|undefined>} */
  async result(level, method, turn) {
    const key = this.key(level, method);
    const found = this.results.get(key);
    if (found) return found;
    if (turn === this.turn && !this.surface.result) this.say(["Painting ..."]);
    const text = this.surface.drawing.text();
    while (this.running) await this.running;
    if (turn !== this.turn) return undefined;
    const asked = this.try(() => this.engine.run(this.surface.drawing.text(), level, method, this.exact));
    this.running = asked.then(() => { this.running = null; });
    const patch = await asked;
    if (!patch || text !== this.surface.drawing.text()) return undefined;
    const made = { key, level, method, patch, image: await loadImage(patch.url) };
    this.results.set(key, made);
    if (this.results.size > 60) this.results.delete(/** @type {string} */ (this.results.keys().next().value));
    return made;
  }

  /** @param {Result} result */
  show(result) {
    this.surface.result = { image: result.image, box: result.patch.box };
    document.body.dataset.shown = result.key;
    this.surface.draw();
  }

  frames() {
    if (part("levels").children.length === LEVELS.length) return;
    part("levels").replaceChildren(...LEVELS.map((level) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "level old",
        title: `Take level ${level}`, onclick: () => this.setLevel(level, true) });
      button.dataset.level = String(level);
      button.append(document.createElement("canvas"), String(level));
      return button;
    }));
  }

  /** @param {number} level @param {Result} result */
  fillFrame(level, result) {
    const button = /** @type {HTMLElement} */ (document.querySelector(`[data-level="${level}"]`));
    button.classList.remove("old");
    this.crop(/** @type {HTMLCanvasElement} */ (button.querySelector("canvas")), result);
    this.markLevel();
  }

  /** A crop of the hole, with a little around it. @param {HTMLCanvasElement} canvas @param {Result} result */
  crop(canvas, result) {
    const [left, top, width, height] = result.patch.box, { drawing, photo } = this.surface;
    const margin = 0.15 * Math.max(width, height);
    const [x, y] = [Math.max(0, left - margin), Math.max(0, top - margin)];
    const [w, h] = [Math.min(drawing.width, left + width + margin) - x, Math.min(drawing.height, top + height + margin) - y];
    const scale = 184 / Math.max(w, h);
    [canvas.width, canvas.height] = [Math.max(1, Math.round(w * scale)), Math.max(1, Math.round(h * scale))];
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.scale(scale, scale);
    pen.translate(-x, -y);
    pen.drawImage(/** @type {HTMLImageElement} */ (photo), 0, 0, drawing.width, drawing.height);
    pen.drawImage(result.image, left, top, width, height);
  }

  markLevel() {
    all("[data-level]").forEach((one) => one.setAttribute("aria-pressed", String(Number(one.dataset.level) === this.level)));
  }

  /** @param {number} level @param {boolean} [runs] */
  setLevel(level, runs = false) {
    this.level = level;
    part("level").value = String(level);
    part("level-shown").textContent = level.toFixed(2);
    this.markLevel();
    if (runs && this.source && this.surface.drawing.holeBox()) {
      this.surface.result = null;
      this.keep();
      this.live();
    }
  }

  /** @param {Result} result */
  remember(result) {
    const { entries, box } = this.surface.drawing;
    this.history = this.history.filter((one) => one.result.key !== result.key);
    this.history.push({ entries: entries.slice(), box, level: this.level, exact: this.exact, result });
    if (this.history.length > MAX_HISTORY) this.history.shift();
    this.showHistory();
  }

  showHistory() {
    part("history").replaceChildren(...this.history.slice().reverse().map((one, at) => {
      const button = Object.assign(document.createElement("button"), { type: "button", title: `Back to this drawing, level ${one.level}` });
      const canvas = document.createElement("canvas");
      button.append(canvas, `${this.history.length - at}: ${one.level}`);
      this.crop(canvas, one.result);
      button.onclick = async () => {
        await this.surface.drawing.restore(one.entries);
        this.surface.drawing.box = one.box;
        this.setLevel(one.level);
        part("exact").checked = one.exact;
        this.method = part("method").value = one.result.method;
        this.changed();
      };
      return button;
    }));
  }

  async goOn() {
    const made = await this.saved("png");
    if (!made) return;
    const name = `${/** @type {any} */ (this.source).stem}-edited.png`;
    await this.open(() => this.engine.openPhoto(made.data, name), made.data, name, { box: this.surface.box });
  }

  /** @param {string} kind */
  async saved(kind) {
    if (!this.source) {
      this.say(["Choose a photo first, or use the sample."], true);
      return undefined;
    }
    while (this.running) await this.running;
    return this.try(() => this.engine.save(kind, this.surface.drawing.text(), this.level, this.method, this.exact, part("marked").checked));
  }

  /** @param {string} kind */
  async save(kind) {
    const made = await this.saved(kind);
    if (!made) return;
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(made.data), download: made.name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    this.say([`${made.name} is in your downloads folder.`]);
  }

  async copy() {
    const made = await this.saved("png");
    if (!made) return;
    try {
      await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([made.data], { type: "image/png" }) })]);
      this.say(["The result is on the clipboard."]);
    } catch {
      this.say(["This browser does not let the page copy pictures. Save the PNG."], true);
    }
  }

  async showBaselines() {
    const turn = this.turn;
    part("baselines").replaceChildren();
    for (const { name } of this.methods) {
      const found = await this.result(this.level, name, turn);
      if (!found) return;
      const button = Object.assign(document.createElement("button"), { type: "button", title: `Take ${name}`,
        onclick: () => { this.setMethod(name); } });
      const canvas = document.createElement("canvas");
      this.crop(canvas, found);
      button.append(canvas, name);
      part("baselines").append(button);
    }
  }

  /** @param {string} name */
  setMethod(name) {
    this.method = part("method").value = name;
    part("slide").hidden = !this.hasLevel(name);
    this.changed();
    const limits = this.methods.find((one) => one.name === name)?.limits || [];
    if (limits.length) this.say(limits);
  }

  async ownLines() {
    const layer = await this.try(() => this.engine.ownLines(this.surface.drawing.text()));
    if (!layer) return;
    await this.surface.drawing.add({ role: "sketch", steps: [{ kind: "file", id: layer.id, url: layer.url }] });
    this.setTool("sketch");
    this.changed(layer.notes);
  }

  /** @param {any} tool */
  setTool(tool) {
    this.surface.take(tool);
    const { role, colours } = this.surface;
    all("[data-tool]").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.tool === tool)));
    part("size").value = String(this.surface.size);
    part("colour").replaceChildren(...Object.keys(COLOURS[role]).map((name) => new Option(name)));
    part("colour").value = colours[role];
  }

  /** @param {string} name */
  do(name) {
    const { surface } = this;
    if (name === "undo" || name === "redo") {
      if (surface.drawing[name]()) this.changed();
    } else if (name === "clear" || name === "invert") {
      const role = name === "invert" ? "mask" : surface.role;
      if (this.source) surface.drawing.add({ role, steps: [{ kind: name }] }).then(() => this.changed());
    } else if (name === "in" || name === "out") surface.zoom(name === "in" ? 1.25 : 0.8);
    else if (name === "fit") surface.fit();
    else if (name === "compare") {
      surface.compare = !surface.compare;
      /** @type {HTMLElement} */ (document.querySelector("[data-do=compare]")).setAttribute("aria-pressed", String(surface.compare));
      surface.draw();
    }
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const target = /** @type {HTMLElement} */ (event.target), { surface } = this;
    const isField = target.matches("select, input:not([type=checkbox]):not([type=range]):not([type=file])");
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key === "z" || key === "y") this.do(key === "y" || event.shiftKey ? "redo" : "undo");
      else if (key === "c" && surface.result && !String(getSelection())) this.copy();
      else return;
      event.preventDefault();
      return;
    }
    if (isField || event.altKey) return;
    const tools = { b: "mask", n: "sketch", e: "erase", g: "fill", f: "face" };
    const steps = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
    const onCanvas = target === surface.canvas;
    if (key in tools) this.setTool(tools[/** @type {keyof typeof tools} */ (key)]);
    else if (key === "[" || key === "]") {
      surface.size += key === "]" ? 5 : -5;
      part("size").value = String(surface.size);
    } else if (key === "c") this.do("compare");
    else if (key === "o") { surface.showsOriginal = true; surface.draw(); }
    else if (key === "m") part("mirror").click();
    else if (key === "+" || key === "=") this.do("in");
    else if (key === "-") this.do("out");
    else if (key === "0") this.do("fit");
    else if (onCanvas && key in steps) {
      const [dx, dy] = steps[/** @type {keyof typeof steps} */ (key)], far = event.shiftKey ? 40 : 8;
      surface.nudge(dx * far, dy * far);
    } else if (onCanvas && key === "enter") surface.press();
    else if (onCanvas && key === " ") { surface.space = true; surface.draw(); }
    else return;
    event.preventDefault();
  }

  connect() {
    for (const one of all("[data-tool]")) one.onclick = () => this.setTool(one.dataset.tool);
    for (const one of all("[data-do]")) one.onclick = () => this.do(/** @type {string} */ (one.dataset.do));
    for (const one of all("[data-save]")) one.onclick = () => this.save(/** @type {string} */ (one.dataset.save));
    for (const one of all("[data-open]")) {
      one.onclick = () => {
        const input = Object.assign(document.createElement("input"), { type: "file", multiple: one.dataset.open === "photo" });
        input.onchange = () => {
          const files = [...(input.files || [])];
          if (one.dataset.open === "photo") this.take(files);
          else if (files.length) this.addLayer(/** @type {any} */ (one.dataset.open), files[0]);
        };
        input.click();
      };
    }
    part("file").onchange = () => { this.take([...part("file").files]); };
    part("sample").onclick = () => this.open(() => this.engine.openSample(), null, "sample.png");
    part("resume").onclick = () => this.resume();
    part("lines").onclick = () => this.ownLines();
    part("go-on").onclick = () => this.goOn();
    part("copy").onclick = () => this.copy();
    part("others").onclick = () => this.showBaselines();
    part("method").onchange = () => this.setMethod(part("method").value);
    part("exact").onchange = () => this.changed();
    part("level").oninput = () => this.setLevel(Number(part("level").value), true);
    part("size").oninput = () => { this.surface.size = Number(part("size").value); };
    part("colour").onchange = () => { this.surface.colours[this.surface.role] = part("colour").value; this.surface.draw(); };
    part("mirror").onchange = () => { this.surface.mirror = part("mirror").checked; this.surface.draw(); };
    part("smooth").onchange = () => { this.surface.smooth = part("smooth").checked; };
    part("keep").onchange = () => { if (part("keep").checked) this.keep(); else dropDraft(); };
    document.addEventListener("keydown", (event) => this.pressed(event));
    document.addEventListener("keyup", (event) => {
      if (event.key === " ") this.surface.space = false;
      if (event.key.toLowerCase() === "o") { this.surface.showsOriginal = false; this.surface.draw(); }
    });
    document.addEventListener("dragover", (event) => { event.preventDefault(); part("stage").classList.add("drop"); });
    document.addEventListener("dragleave", () => part("stage").classList.remove("drop"));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      part("stage").classList.remove("drop");
      this.take([...(event.dataTransfer?.files || [])]);
    });
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files || [])];
      if (files.length) this.take(files);
    });
    window.addEventListener("beforeunload", (event) => {
      if (this.isDirty && this.surface.drawing.entries.length) event.preventDefault();
    });
    this.setTool("mask");
  }
}

/** @param {Blob} blob */
async function inverted(blob) {
  const image = await createImageBitmap(blob);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.filter = "invert(1)";
  pen.drawImage(image, 0, 0);
  return new Promise((resolve) => canvas.toBlob((made) => resolve(/** @type {Blob} */ (made))));
}

// For tests and for the curious.
const isPage = document.documentElement.dataset.engine === "page";
/** @type {any} */ (window).dps = new Page(isPage ? new (await import("./page_engine.js")).PageEngine() : new ServerEngine());
