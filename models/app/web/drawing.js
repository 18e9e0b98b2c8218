// The drawing: one history of steps for both layers, in px of the photo. The hole never moves into the line.

/** @typedef {import("./engine.js").Role} Role */
/**
 * @typedef {{kind: "stroke", erase: boolean, width: number, points: number[]} | {kind: "fill", points: number[]}
 *   | {kind: "file", id: string, url: string} | {kind: "clear"} | {kind: "invert"}} Step
 */
/** @typedef {{role: Role, steps: Step[]}} Entry what one Undo takes back */

const CANVAS_PX = 1600;

export class Drawing {
  /** @param {number} width px of the photo @param {number} height px of the photo @param {number} [most] px of the layers */
  constructor(width, height, most = CANVAS_PX) {
    this.width = width;
    this.height = height;
    this.scale = Math.min(1, most / Math.max(width, height));
    /** @type {Entry[]} */ this.entries = [];
    /** @type {Entry[]} */ this.undone = [];
    /** @type {[number, number, number]|null} */ this.box = null;
    /** @type {Map<string, HTMLImageElement>} */ this.images = new Map();
    this.layers = { mask: this.blank(), sketch: this.blank() };
  }

  blank() {
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(this.width * this.scale));
    canvas.height = Math.max(1, Math.round(this.height * this.scale));
    return canvas;
  }

  /** @param {Role} role @returns {Step[]} */
  steps(role) {
    return this.entries.filter((entry) => entry.role === role).flatMap((entry) => entry.steps);
  }

  /** What an engine reads. */
  text() {
    const send = (/** @type {Role} */ role) => this.steps(role).map((step) =>
      step.kind === "file" ? { kind: "file", id: step.id } : step);
    return JSON.stringify({ mask: send("mask"), sketch: send("sketch"), box: this.box });
  }

  /** @param {Entry} entry */
  async add(entry) {
    await this.loadImages([entry]);
    this.entries.push(entry);
    this.undone = [];
    for (const step of entry.steps) this.paint(this.layers[entry.role], step);
  }

  undo() { return this.shift(this.entries, this.undone); }
  redo() { return this.shift(this.undone, this.entries); }

  /** @param {Entry[]} from @param {Entry[]} to */
  shift(from, to) {
    const entry = from.pop();
    if (entry) {
      to.push(entry);
      this.repaint();
    }
    return entry;
  }

  /** @param {Entry[]} entries */
  async restore(entries) {
    await this.loadImages(entries);
    this.entries = entries.slice();
    this.undone = [];
    this.repaint();
  }

  repaint() {
    this.layers = { mask: this.blank(), sketch: this.blank() };
    for (const { role, steps } of this.entries) for (const step of steps) this.paint(this.layers[role], step);
  }

  /** @param {Entry[]} entries */
  async loadImages(entries) {
    for (const step of entries.flatMap((entry) => entry.steps)) {
      if (step.kind !== "file" || this.images.has(step.id)) continue;
      const image = new Image();
      image.src = step.url;
      await image.decode();
      this.images.set(step.id, image);
    }
  }

  /** @param {HTMLCanvasElement} layer @param {Step} step */
  paint(layer, step) {
    const pen = /** @type {CanvasRenderingContext2D} */ (layer.getContext("2d", { willReadFrequently: true }));
    if (step.kind === "stroke") paintStroke(pen, step, this.scale);
    else if (step.kind === "clear") pen.clearRect(0, 0, layer.width, layer.height);
    else if (step.kind === "invert") {
      pen.globalCompositeOperation = "xor";
      pen.fillStyle = "#fff";
      pen.fillRect(0, 0, layer.width, layer.height);
      pen.globalCompositeOperation = "source-over";
    } else if (step.kind === "fill") fillOutline(pen, step.points[0] * this.scale, step.points[1] * this.scale);
    else {
      pen.clearRect(0, 0, layer.width, layer.height);
      const image = this.images.get(step.id);
      if (!image) return;
      pen.drawImage(image, 0, 0, layer.width, layer.height);
      const pixels = pen.getImageData(0, 0, layer.width, layer.height);
      for (let at = 0; at < pixels.data.length; at += 4) {
        pixels.data[at + 3] = pixels.data[at];
        pixels.data[at] = pixels.data[at + 1] = pixels.data[at + 2] = 255;
      }
      pen.putImageData(pixels, 0, 0);
    }
  }

  /** Left, top, right and bottom of the hole in px of the photo; null where there is none. */
  holeBox() {
    const { width, height } = this.layers.mask;
    const pen = /** @type {CanvasRenderingContext2D} */ (this.layers.mask.getContext("2d", { willReadFrequently: true }));
    const { data } = pen.getImageData(0, 0, width, height);
    let [left, top, right, bottom] = [width, height, -1, -1];
    for (let y = 0, at = 3; y < height; y++) {
      for (let x = 0; x < width; x++, at += 4) {
        if (data[at] < 128) continue;
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < top) top = y;
        bottom = y;
      }
    }
    return right < 0 ? null : [left, top, right + 1, bottom + 1].map((value) => value / this.scale);
  }
}

/** @param {CanvasRenderingContext2D} pen @param {{erase: boolean, width: number, points: number[]}} step @param {number} scale */
export function paintStroke(pen, { erase, width, points }, scale) {
  pen.globalCompositeOperation = erase ? "destination-out" : "source-over";
  pen.strokeStyle = "#fff";
  pen.lineWidth = Math.max(1, width * scale);
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(points[0] * scale, points[1] * scale);
  for (let at = 2; at < points.length; at += 2) pen.lineTo(points[at] * scale, points[at + 1] * scale);
  if (points.length === 2) pen.lineTo(points[0] * scale + 0.01, points[1] * scale);
  pen.stroke();
  pen.globalCompositeOperation = "source-over";
}

/**
 * Fill what is enclosed around a point.
 * @param {CanvasRenderingContext2D} pen @param {number} x @param {number} y
 * @returns {boolean} false where the outline has a gap; nothing is filled then
 */
export function fillOutline(pen, x, y) {
  const { width, height } = pen.canvas;
  const start = Math.floor(y) * width + Math.floor(x);
  if (x < 0 || y < 0 || x >= width || y >= height) return false;
  const pixels = pen.getImageData(0, 0, width, height);
  const isFree = (/** @type {number} */ at) => pixels.data[4 * at + 3] < 128;
  if (!isFree(start)) return true;
  const seen = new Uint8Array(width * height);
  const stack = [start];
  seen[start] = 1;
  while (stack.length) {
    const at = /** @type {number} */ (stack.pop());
    const column = at % width;
    if (column === 0 || column === width - 1 || at < width || at >= width * (height - 1)) return false;
    for (const next of [at - 1, at + 1, at - width, at + width]) {
      if (!seen[next] && isFree(next)) {
        seen[next] = 1;
        stack.push(next);
      }
    }
  }
  for (let at = 0; at < seen.length; at++) if (seen[at]) pixels.data.fill(255, 4 * at, 4 * at + 4);
  pen.putImageData(pixels, 0, 0);
  return true;
}

/** The other side of a step about an upright axis. @param {Step} step @param {number} axis x, px @returns {Step} */
export function mirrored(step, axis) {
  if (step.kind !== "stroke" && step.kind !== "fill") return step;
  return { ...step, points: step.points.map((value, at) => (at % 2 ? value : 2 * axis - value)) };
}
