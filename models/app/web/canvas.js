// One canvas: the photo, the result, the hole and the lines; two pens that each remember size and colour.

import { Drawing, fillOutline, mirrored, paintStroke } from "./drawing.js";

/** @typedef {import("./engine.js").Role} Role */
/** @typedef {{image: HTMLImageElement, box: number[]}} Shown a result, and where it lies in the photo */

export const COLOURS = {
  mask: { "red hatch": "#ff2d3d", "green hatch": "#00c853", "blue hatch": "#2979ff", "yellow hatch": "#ffd600" },
  sketch: { black: "#101216", white: "#ffffff", cyan: "#00e5ff", magenta: "#ff2bd6" },
};
// Middle of the eyes in the face square: x of (94.8 + 157.3) / 2 at 256 px, measured from the left border.
const EYES_X = (126.05 + 0.5) / 256;
const MIN_SHARE = 1 / 200, SHARES = 80;

export class Surface {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{stroke: () => void, pick: (x: number, y: number) => void, say: (text: string) => void, moved: () => void}} events
   */
  constructor(canvas, events) {
    this.canvas = canvas;
    this.events = events;
    /** @type {HTMLImageElement|null} */ this.photo = null;
    this.drawing = new Drawing(1, 1);
    /** @type {[number, number, number]} */ this.square = [0, 0, 1];
    /** @type {Shown|null} */ this.result = null;
    /** @type {"mask"|"sketch"|"erase"|"fill"|"face"|"pan"} */ this.tool = "mask";
    /** @type {Role} */ this.role = "mask";
    this.shares = { mask: 0.1, sketch: 0.012 };
    this.colours = { mask: "red hatch", sketch: "black" };
    this.view = { scale: 1, x: 0, y: 0 };
    this.mirror = false;
    this.smooth = true;
    this.compare = false;
    this.cut = 0.5;
    this.showsOriginal = false;
    /** @type {{x: number, y: number}|null} */ this.at = null;
    /** @type {any} */ this.drag = null;
    /** @type {Map<number, {x: number, y: number}>} */ this.fingers = new Map();
    this.isDown = false;
    this.space = false;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.up(event, true));
    canvas.addEventListener("pointerleave", () => { if (!this.drag) { this.at = null; this.draw(); } });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const spot = this.spot(event);
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), spot.x, spot.y);
    }, { passive: false });
    new ResizeObserver(() => { this.fit(); }).observe(canvas);
  }

  /** @param {HTMLImageElement} photo @param {number} width @param {number} height @param {[number, number, number]} square */
  open(photo, width, height, square) {
    this.photo = photo;
    this.drawing = new Drawing(width, height);
    this.square = square;
    this.result = null;
    this.fit();
  }

  get box() { return this.drawing.box || this.square; }
  get axis() { return this.box[0] + EYES_X * this.box[2]; }
  get width() { return Math.max(1, this.shares[this.role] * this.box[2]); }

  /** Of the pen, 0 to 100 by ratio. */
  get size() { return 100 * Math.log(this.shares[this.role] / MIN_SHARE) / Math.log(SHARES); }
  set size(value) {
    this.shares[this.role] = MIN_SHARE * Math.pow(SHARES, Math.min(100, Math.max(0, value)) / 100);
    this.draw();
  }

  /** @param {typeof this.tool} tool */
  take(tool) {
    this.tool = tool;
    if (tool === "mask" || tool === "sketch") this.role = tool;
    if (tool === "fill") this.role = "mask";
    this.isDown = false;
    this.draw();
  }

  fit() {
    const { clientWidth: wide, clientHeight: high } = this.canvas;
    const { width, height } = this.drawing;
    const scale = Math.min(wide / width, high / height) * 0.96;
    this.view = { scale, x: (wide - width * scale) / 2, y: (high - height * scale) / 2 };
    this.draw();
  }

  /** @param {number} factor @param {number} [x] CSS px @param {number} [y] CSS px */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(64, Math.max(0.02, this.view.scale * factor));
    const ratio = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * ratio, y: y - (y - this.view.y) * ratio };
    this.draw();
  }

  /** @param {PointerEvent|WheelEvent} event CSS px of the canvas */
  spot(event) {
    const place = this.canvas.getBoundingClientRect();
    return { x: event.clientX - place.left, y: event.clientY - place.top };
  }

  /** @param {{x: number, y: number}} spot px of the photo */
  toPhoto({ x, y }) {
    return { x: (x - this.view.x) / this.view.scale, y: (y - this.view.y) / this.view.scale };
  }

  cutX() {
    const box = this.result ? this.result.box : [0, 0, this.drawing.width, 0];
    return box[0] + box[2] * this.cut;
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (!this.photo) return;
    this.canvas.focus({ preventScroll: true });
    try { this.canvas.setPointerCapture(event.pointerId); } catch { /* a made-up pointer */ }
    const spot = this.spot(event), at = this.toPhoto(spot);
    if (event.pointerType === "touch") {
      this.fingers.set(event.pointerId, spot);
      if (this.fingers.size === 2) {
        this.drag = { kind: "pinch" };
        return;
      }
    }
    this.at = at;
    if (event.button === 1 || this.space || this.tool === "pan") this.drag = { kind: "pan", from: spot };
    else if (this.compare && this.result && Math.abs(at.x - this.cutX()) * this.view.scale < 24) this.drag = { kind: "cut" };
    else if (this.tool === "face") this.drag = { kind: "face", from: at, box: this.box, moved: false };
    else if (this.tool === "fill") this.fill(at);
    else this.start(at, event.button === 2 || this.tool === "erase" || event.buttons === 32, event);
    this.draw();
  }

  /** @param {{x: number, y: number}} at @param {boolean} erase @param {PointerEvent|null} event */
  start(at, erase, event) {
    const presses = event !== null && event.pointerType === "pen" && event.pressure > 0;
    this.drag = { kind: "stroke", role: this.role, erase, presses, steps: [], last: at };
    this.extend(at, event);
  }

  /** @param {{x: number, y: number}} at @param {PointerEvent|null} event */
  extend(at, event) {
    const drag = this.drag, { steps, last } = drag;
    const ease = this.smooth && drag.role === "sketch" && event !== null ? 0.45 : 1;
    const next = { x: last.x + (at.x - last.x) * ease, y: last.y + (at.y - last.y) * ease };
    const pressure = drag.presses && event ? 0.3 + 1.2 * event.pressure : 1;
    const width = Math.round(10 * Math.max(1, this.width * pressure)) / 10;
    let step = steps[steps.length - 1];
    if (!step || Math.abs(step.width - width) > 0.08 * width) {
      step = { kind: "stroke", erase: drag.erase, width, points: steps.length ? [round(last.x), round(last.y)] : [] };
      steps.push(step);
    }
    const count = step.points.length;
    if (count && Math.hypot(step.points[count - 2] - next.x, step.points[count - 1] - next.y) * this.view.scale < 0.7) return;
    step.points.push(round(next.x), round(next.y));
    drag.last = next;
    const pen = /** @type {CanvasRenderingContext2D} */ (this.drawing.layers[/** @type {Role} */ (drag.role)].getContext("2d", { willReadFrequently: true }));
    const tail = { ...step, points: step.points.slice(-4) };
    for (const part of this.mirror ? [tail, mirrored(tail, this.axis)] : [tail]) paintStroke(pen, /** @type {any} */ (part), this.drawing.scale);
    this.result = null;
  }

  async finish() {
    const { role, steps, last, erase } = this.drag;
    const at = this.at;
    const step = steps[steps.length - 1];
    if (at && (at.x !== last.x || at.y !== last.y)) step.points.push(round(at.x), round(at.y));
    this.drag = null;
    const kept = this.mirror ? steps.flatMap((/** @type {any} */ one) => [one, mirrored(one, this.axis)]) : steps;
    if (erase && !this.drawing.entries.length) return;
    await this.drawing.add({ role, steps: kept });
    this.drawing.repaint();
    this.events.stroke();
    this.draw();
  }

  /** @param {{x: number, y: number}} at */
  async fill(at) {
    const pen = /** @type {CanvasRenderingContext2D} */ (this.drawing.layers.mask.getContext("2d", { willReadFrequently: true }));
    const isClosed = fillOutline(pen, at.x * this.drawing.scale, at.y * this.drawing.scale);
    this.drawing.repaint();
    if (!isClosed) {
      this.events.say("This outline is not closed. Close it with the hole pen, then fill it.");
      return;
    }
    /** @type {import("./drawing.js").Step} */ const step = { kind: "fill", points: [round(at.x), round(at.y)] };
    await this.drawing.add({ role: "mask", steps: [step] });
    this.result = null;
    this.events.stroke();
    this.draw();
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (!this.photo) return;
    const spot = this.spot(event);
    if (this.fingers.has(event.pointerId) && this.drag && this.drag.kind === "pinch") {
      const [one, two] = [...this.fingers.values()];
      this.fingers.set(event.pointerId, spot);
      const [first, second] = [...this.fingers.values()];
      if (!second) return;
      const middle = { x: (first.x + second.x) / 2, y: (first.y + second.y) / 2 };
      this.view.x += middle.x - (one.x + two.x) / 2;
      this.view.y += middle.y - (one.y + two.y) / 2;
      this.zoom(Math.hypot(first.x - second.x, first.y - second.y) / Math.max(1, Math.hypot(one.x - two.x, one.y - two.y)), middle.x, middle.y);
      return;
    }
    const drag = this.drag;
    this.at = this.toPhoto(spot);
    if (drag && drag.kind === "pan") {
      this.view.x += spot.x - drag.from.x;
      this.view.y += spot.y - drag.from.y;
      drag.from = spot;
    } else if (drag && drag.kind === "cut" && this.result) {
      this.cut = Math.min(1, Math.max(0, (this.at.x - this.result.box[0]) / this.result.box[2]));
    } else if (drag && drag.kind === "face") {
      const [left, top, side] = drag.box;
      drag.moved ||= Math.hypot(this.at.x - drag.from.x, this.at.y - drag.from.y) * this.view.scale > 4;
      if (drag.moved) this.drawing.box = [round(left + this.at.x - drag.from.x), round(top + this.at.y - drag.from.y), side];
    } else if (drag && drag.kind === "stroke") {
      const all = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      for (const one of all.length ? all : [event]) this.extend(this.toPhoto(this.spot(one)), one);
    }
    this.draw();
  }

  /** @param {PointerEvent} event @param {boolean} [isCancelled] */
  up(event, isCancelled = false) {
    const drag = this.drag;
    this.fingers.delete(event.pointerId);
    if (!drag) return;
    if (drag.kind === "stroke" && isCancelled) {
      this.drag = null;
      this.drawing.repaint();
    } else if (drag.kind === "stroke") {
      this.finish();
    } else if (drag.kind === "face") {
      this.drag = null;
      if (drag.moved) this.events.moved();
      else this.events.pick(drag.from.x, drag.from.y);
    } else if (drag.kind !== "pinch" || this.fingers.size === 0) this.drag = null;
    if (event.pointerType === "touch" && !this.drag) this.at = null;
    this.draw();
  }

  /** Drawing by keys. @param {number} dx @param {number} dy CSS px */
  nudge(dx, dy) {
    const start = this.at || { x: this.drawing.width / 2, y: this.drawing.height / 2 };
    const at = { x: start.x + dx / this.view.scale, y: start.y + dy / this.view.scale };
    this.at = at;
    if (this.drag && this.drag.kind === "stroke") this.extend(at, null);
    this.draw();
  }

  press() {
    if (!this.photo) return;
    const at = this.at ||= { x: this.drawing.width / 2, y: this.drawing.height / 2 };
    if (this.drag && this.drag.kind === "stroke") this.finish();
    else if (this.tool === "fill") this.fill(at);
    else if (this.tool === "face") this.events.pick(at.x, at.y);
    else if (this.tool !== "pan") this.start(at, this.tool === "erase", null);
    this.draw();
  }

  draw() {
    if (this.isAsked) return;
    this.isAsked = true;
    requestAnimationFrame(() => { this.isAsked = false; this.render(); });
  }

  render() {
    const ratio = window.devicePixelRatio || 1, canvas = this.canvas;
    const [wide, high] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, wide, high);
    if (!this.photo) return;
    const { scale, x, y } = this.view, { width, height } = this.drawing;
    pen.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
    pen.imageSmoothingEnabled = scale < 4;
    pen.drawImage(this.photo, 0, 0, width, height);
    if (this.showsOriginal) return;
    const px = 1 / scale;
    if (this.result) {
      const [left, top, w, h] = this.result.box;
      pen.save();
      if (this.compare) {
        pen.beginPath();
        pen.rect(this.cutX(), top, w, h);
        pen.clip();
      }
      pen.drawImage(this.result.image, left, top, w, h);
      pen.restore();
    }
    const isBusy = this.drag && this.drag.kind === "stroke";
    this.renderHole(pen, this.result !== null && !isBusy);
    if (!this.compare || !this.result) {
      pen.globalAlpha = this.result && !isBusy ? 0.35 : 1;
      pen.drawImage(tinted(this.drawing.layers.sketch, COLOURS.sketch[this.colours.sketch]), 0, 0, width, height);
      pen.globalAlpha = 1;
    }
    const [left, top, side] = this.box;
    pen.setLineDash([8 * px, 6 * px]);
    pen.lineWidth = 1.5 * px;
    for (const [colour, offset] of [["#000", 0], ["#fff", 7 * px]]) {
      pen.strokeStyle = /** @type {string} */ (colour);
      pen.lineDashOffset = /** @type {number} */ (offset);
      pen.strokeRect(left, top, side, side);
      if (this.mirror) {
        pen.beginPath();
        pen.moveTo(this.axis, top);
        pen.lineTo(this.axis, top + side);
        pen.stroke();
      }
    }
    pen.setLineDash([]);
    if (this.compare && this.result) this.renderCut(pen, px);
    if (this.at) this.renderRing(pen, px);
  }

  /** @param {CanvasRenderingContext2D} pen @param {boolean} isOutline a result lies in the hole, so its border alone is shown */
  renderHole(pen, isOutline) {
    const { width, height } = this.drawing, colour = COLOURS.mask[this.colours.mask];
    const layer = this.drawing.layers.mask;
    const made = document.createElement("canvas");
    [made.width, made.height] = [layer.width, layer.height];
    const ink = /** @type {CanvasRenderingContext2D} */ (made.getContext("2d"));
    const reach = Math.max(1, this.drawing.scale / this.view.scale);
    for (const [dx, dy] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) ink.drawImage(layer, dx * reach, dy * reach);
    ink.globalCompositeOperation = "destination-out";
    ink.drawImage(layer, 0, 0);
    ink.globalCompositeOperation = "source-in";
    ink.fillStyle = colour;
    ink.fillRect(0, 0, made.width, made.height);
    if (!isOutline) {
      ink.globalCompositeOperation = "source-over";
      ink.drawImage(hatched(layer, colour), 0, 0);
    }
    pen.drawImage(made, 0, 0, width, height);
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} px */
  renderCut(pen, px) {
    const x = this.cutX(), box = /** @type {Shown} */ (this.result).box;
    for (const [colour, width] of /** @type {[string, number][]} */ ([["#000", 4], ["#fff", 2]])) {
      pen.strokeStyle = colour;
      pen.lineWidth = width * px;
      pen.beginPath();
      pen.moveTo(x, box[1] - 12 * px);
      pen.lineTo(x, box[1] + box[3] + 12 * px);
      pen.stroke();
    }
    pen.fillStyle = "#fff";
    pen.strokeStyle = "#000";
    pen.lineWidth = px;
    pen.beginPath();
    pen.arc(x, box[1] + box[3] / 2, 10 * px, 0, 7);
    pen.fill();
    pen.stroke();
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} px */
  renderRing(pen, px) {
    const at = /** @type {{x: number, y: number}} */ (this.at);
    const isPen = ["mask", "sketch", "erase"].includes(this.tool) && !this.space;
    const radius = isPen ? Math.max(2 * px, this.width / 2) : 5 * px;
    for (const [colour, width] of /** @type {[string, number][]} */ ([["#000", 3], ["#fff", 1.5]])) {
      pen.strokeStyle = colour;
      pen.lineWidth = width * px;
      pen.beginPath();
      pen.arc(at.x, at.y, radius, 0, 7);
      if (!isPen) {
        pen.moveTo(at.x - 9 * px, at.y);
        pen.lineTo(at.x + 9 * px, at.y);
        pen.moveTo(at.x, at.y - 9 * px);
        pen.lineTo(at.x, at.y + 9 * px);
      }
      pen.stroke();
    }
  }
}

/** @param {number} value */
function round(value) { return Math.round(10 * value) / 10; }

/** @param {HTMLCanvasElement} layer @param {string|CanvasPattern} colour */
function tinted(layer, colour) {
  const made = document.createElement("canvas");
  [made.width, made.height] = [layer.width, layer.height];
  const ink = /** @type {CanvasRenderingContext2D} */ (made.getContext("2d"));
  ink.drawImage(layer, 0, 0);
  ink.globalCompositeOperation = "source-in";
  ink.fillStyle = colour;
  ink.fillRect(0, 0, made.width, made.height);
  return made;
}

/** @param {HTMLCanvasElement} layer @param {string} colour */
function hatched(layer, colour) {
  const tile = document.createElement("canvas");
  const side = Math.max(6, Math.round(layer.width / 80));
  tile.width = tile.height = side;
  const ink = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  ink.fillStyle = `${colour}38`;
  ink.fillRect(0, 0, side, side);
  ink.strokeStyle = colour;
  ink.lineWidth = side / 5;
  for (const shift of [-side, 0, side]) {
    ink.moveTo(shift, side);
    ink.lineTo(shift + side, 0);
  }
  ink.stroke();
  return tinted(layer, /** @type {CanvasPattern} */ (ink.createPattern(tile, "repeat")));
}
