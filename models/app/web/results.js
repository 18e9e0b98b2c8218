// Results: the chosen level live, five levels, other methods and the history.

import { all, loadImage, part } from "./parts.js";

/** @typedef {import("./engine.js").Patch} Patch */
/** @typedef {{key: string, level: number, method: string, patch: Patch, image: HTMLImageElement}} Result */

const LEVELS = [0, 0.25, 0.5, 0.75, 1];
const MAX_HISTORY = 12, MAX_RESULTS = 60;

export class Results {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    /** @type {Map<string, Result>} */ this.made = new Map();
    /** @type {{entries: any[], box: any, level: number, exact: boolean, result: Result}[]} */ this.history = [];
    /** @type {Promise<void>|null} */ this.running = null;
    this.turn = 0;
  }

  /** Ask for no more levels, since those of one photo make no sense with another. */
  async stop() {
    this.turn++;
    while (this.running) await this.running;
  }

  /** Another photo. */
  clear() {
    this.turn++;
    this.made.clear();
    this.history = [];
    part("levels").replaceChildren();
    this.showHistory();
  }

  /** Paint the chosen level, then the five; a newer drawing ends it. */
  async live() {
    const turn = ++this.turn;
    const first = await this.result(this.page.level, this.page.method, turn);
    if (!first || turn !== this.turn) return;
    this.show(first);
    this.page.say(first.patch.notes);
    this.remember(first);
    if (!this.page.hasLevel(this.page.method)) {
      part("levels").replaceChildren();
      return;
    }
    this.frames();
    for (const level of LEVELS) {
      const found = await this.result(level, this.page.method, turn);
      if (!found || turn !== this.turn) return;
      this.fillFrame(level, found);
    }
    document.body.dataset.levels = this.page.key();
  }

  /** @param {number} level @param {string} method @param {number} turn @returns {Promise<Result|undefined>} */
  async result(level, method, turn) {
    const key = this.page.key(level, method);
    const found = this.made.get(key);
    if (found) return found;
    if (turn === this.turn && !this.page.surface.result) this.page.say(["Painting ..."]);
    const text = this.page.surface.drawing.text();
    while (this.running) await this.running;
    if (turn !== this.turn) return undefined;
    const asked = this.page.try(() => this.page.engine.run(this.page.surface.drawing.text(), level, method, this.page.exact));
    this.running = asked.then(() => { this.running = null; });
    const patch = await asked;
    if (!patch || text !== this.page.surface.drawing.text()) return undefined;
    const made = { key, level, method, patch, image: await loadImage(patch.url) };
    this.made.set(key, made);
    if (this.made.size > MAX_RESULTS) this.made.delete(/** @type {string} */ (this.made.keys().next().value));
    return made;
  }

  /** @param {Result} result */
  show(result) {
    this.page.surface.result = { image: result.image, box: result.patch.box };
    document.body.dataset.shown = result.key;
    this.page.surface.draw();
  }

  frames() {
    if (part("levels").children.length === LEVELS.length) return;
    part("levels").replaceChildren(...LEVELS.map((level) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "level old",
        title: `Take level ${level}`, onclick: () => this.page.setLevel(level, true) });
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
    const [left, top, width, height] = result.patch.box, { drawing, photo } = this.page.surface;
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
    all("[data-level]").forEach((one) => one.setAttribute("aria-pressed", String(Number(one.dataset.level) === this.page.level)));
  }

  /** @param {Result} result */
  remember(result) {
    const { entries, box } = this.page.surface.drawing;
    this.history = this.history.filter((one) => one.result.key !== result.key);
    this.history.push({ entries: entries.slice(), box, level: this.page.level, exact: this.page.exact, result });
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
        await this.page.surface.drawing.restore(one.entries);
        this.page.surface.drawing.box = one.box;
        this.page.setLevel(one.level);
        part("exact").checked = one.exact;
        this.page.method = part("method").value = one.result.method;
        this.page.changed();
      };
      return button;
    }));
  }

  async showBaselines() {
    const turn = this.turn;
    part("baselines").replaceChildren();
    for (const { name } of this.page.methods) {
      const found = await this.result(this.page.level, name, turn);
      if (!found) return;
      const button = Object.assign(document.createElement("button"), { type: "button", title: `Take ${name}`,
        onclick: () => { this.page.setMethod(name); } });
      const canvas = document.createElement("canvas");
      this.crop(canvas, found);
      button.append(canvas, name);
      part("baselines").append(button);
    }
  }
}
