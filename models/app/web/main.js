// The page: opening, changing, keeping and saving a drawing, and messages on the picture.

import { Surface } from "./canvas.js";
import { connect, setTool } from "./controls.js";
import { keepDraft, readDraft } from "./drafts.js";
import { ServerEngine, GoneError, SilentError, fromBase64 } from "./engine.js";
import { all, loadImage, part } from "./parts.js";
import { Results } from "./results.js";

/** @typedef {import("./engine.js").Engine} Engine */

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
    this.results = new Results(this);
    this.errorUntil = 0;
    this.isDirty = false;
    connect(this);
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
    await this.results.stop();
    const opened = await this.try(open);
    if (!opened) {
      if (this.surface.drawing.holeBox()) this.results.live();
      return false;
    }
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
    setTool(this, "mask");
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
    if (hole) this.results.live();
    else if (this.surface.drawing.entries.length) this.say([...notes, "There is no hole yet. Paint it over what should change (B)."]);
    this.surface.draw();
  }

  /** Something is not kept yet; what stands when the pen rests is. */
  keep() {
    clearTimeout(this.keeping);
    this.isDirty = true;
    if (!part("keep").checked || !this.source) return;
    const keeping = this.keeping = setTimeout(() => {
      const { drawing } = this.surface;
      keepDraft({ ...this.source, entries: drawing.entries, box: drawing.box, level: this.level, method: this.method, exact: this.exact })
        .then(() => {
          if (keeping !== this.keeping) return; // there is something newer
          this.isDirty = false;
          document.body.dataset.kept = String(drawing.entries.length);
        })
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

  /** @param {number} level @param {boolean} [runs] */
  setLevel(level, runs = false) {
    this.level = level;
    part("level").value = String(level);
    part("level-shown").textContent = level.toFixed(2);
    this.results.markLevel();
    if (runs && this.source && this.surface.drawing.holeBox()) {
      this.surface.result = null;
      this.keep();
      this.results.live();
    }
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
    while (this.results.running) await this.results.running;
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
    setTool(this, "sketch");
    this.changed(layer.notes);
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
