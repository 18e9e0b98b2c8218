// The photo's own lines, for `dps page`: from an edge map to thin lines, as dpsdata/sketch/simplify.py has it, bit by bit.

import { thinLines } from "./imaging.js";

/** @typedef {import("./imaging.js").Frame} Frame */

export const SIDE = 256; // px of the face square that edges are looked for in, as in models/app/opened_photo.py
const THRESHOLD = 25 / 255, SHORTEST_PX = 5, BORDER_PX = 5, FAVOUR = 1.01, RADIUS = 4, FLATNESS = 1e-5, UNIT = 2 ** 40;

/** @param {Float32Array} edges (S, S) in [0, 1], edge = 1 @param {number} size @returns {Uint8Array} (S, S), line = 1 */
export function findLines(edges, size) { return dropShort(thinLines(findRidges(edges, size), size), size); }

/** The edge map by a triangle filter, with two px more on each side. @param {Float32Array} edges @param {number} size */
function smoothed(edges, size) {
  const wide = size + 4, made = new Float64Array(wide * wide), across = new Float64Array(size * size);
  const taps = Array.from({ length: 2 * RADIUS + 1 }, (_, at) => at - RADIUS);
  const inside = (/** @type {number} */ at) => at < 0 ? -1 - at : at >= size ? 2 * size - 1 - at : at;
  const weight = (/** @type {number} */ tap) => RADIUS + 1 - Math.abs(tap);
  for (let y = 0, at = 0; y < size; y++) {
    for (let x = 0; x < size; x++, at++) for (const tap of taps) across[at] += weight(tap) * Math.round(edges[y * size + inside(x + tap)] * UNIT);
  }
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) for (const tap of taps) made[(y + 2) * wide + x + 2] += weight(tap) * across[inside(y + tap) * size + x];
  }
  /** @param {(depth: number, along: number) => number} at @param {number} first */
  const extend = (at, first) => {
    for (let along = first; along < wide - first; along++) {
      const [second, third, fourth] = [2, 3, 4].map((depth) => made[at(depth, along)]);
      made[at(1, along)] = 2 * second - third;
      made[at(0, along)] = fourth - 4 * third + 4 * second;
    }
  };
  extend((depth, along) => depth * wide + along, 2);
  extend((depth, along) => (wide - 1 - depth) * wide + along, 2);
  extend((depth, along) => along * wide + depth, 0);
  extend((depth, along) => along * wide + wide - 1 - depth, 0);
  return made;
}

/** @param {Float32Array} edges @param {number} size */
function findRidges(edges, size) {
  const values = smoothed(edges, size), wide = size + 4, lines = new Uint8Array(size * size);
  const fade = (/** @type {number} */ at) => Math.min(at, size - 1 - at, BORDER_PX) / BORDER_PX;
  const sample = (/** @type {number} */ y, /** @type {number} */ x) => {
    [y, x] = [y, x].map((value) => Math.min(size - 1.001, Math.max(0, value)));
    const [top, left] = [Math.floor(y), Math.floor(x)], [fy, fx] = [y - top, x - left], at = top * size + left;
    const [upper, lower] = [at, at + size].map((from) => edges[from] * (1 - fx) + edges[from + 1] * fx);
    return upper * (1 - fy) + lower * fy;
  };
  for (let y = 0, at = 0; y < size; y++) {
    for (let x = 0; x < size; x++, at++) {
      if (edges[at] * fade(x) * fade(y) < THRESHOLD) continue;
      const here = (y + 2) * wide + x + 2, twice = 2 * values[here];
      const oxx = values[here + 2] + values[here - 2] - twice, oyy = values[here + 2 * wide] + values[here - 2 * wide] - twice;
      const oxy = values[here + wide + 1] + values[here - wide - 1] - values[here + wide - 1] - values[here - wide + 1];
      let across = oxx + 4 * (RADIUS + 1) ** 4 * UNIT * FLATNESS;
      const along = oyy * Math.sign(-oxy), length = Math.sqrt(across * across + along * along) || 1;
      if (!across && !along) across = 1;
      const [cosine, sine] = [across / length, along / length], limit = edges[at] * FAVOUR;
      lines[at] = Number(limit >= sample(y + sine, x + cosine) && limit >= sample(y - sine, x - cosine));
    }
  }
  return lines;
}

/** @param {Uint8Array} lines @param {number} size */
function dropShort(lines, size) {
  const seen = new Uint8Array(lines.length), kept = lines.slice();
  for (let start = 0; start < lines.length; start++) {
    if (!lines[start] || seen[start]) continue;
    const line = [start];
    seen[start] = 1;
    for (const at of line) { // grows as it is walked
      const x = at % size;
      for (let next = at - size - 1, turn = 0; turn < 9; turn++, next += turn % 3 ? 1 : size - 2) {
        if (Math.abs(next % size - x) < 2 && lines[next] && !seen[next]) { seen[next] = 1; line.push(next); }
      }
    }
    if (line.length < SHORTEST_PX) for (const at of line) kept[at] = 0;
  }
  return kept;
}

/** Draw lines from pixel centre to pixel centre in the photo, so that they are smooth at any size.
 * @param {CanvasRenderingContext2D} pen @param {Uint8Array} lines @param {Frame} frame that they were found in */
export function drawLines(pen, lines, { size, step, shift }) {
  const place = (/** @type {number} */ at, /** @type {0|1} */ axis) => ((axis ? Math.floor(at / size) : at % size) - shift[axis]) / step[axis] + 0.5;
  pen.lineWidth = Math.max(1, Math.round(1 / Math.min(...step)));
  pen.lineCap = "round";
  pen.beginPath();
  lines.forEach((value, at) => {
    for (const next of value ? [at, at + size, at + 1, at + size + 1, at + size - 1] : []) {
      if (!lines[next] || Math.abs(next % size - at % size) > 1) continue;
      pen.moveTo(place(at, 0), place(at, 1));
      pen.lineTo(place(next, 0) + (next === at ? 0.01 : 0), place(next, 1));
    }
  });
  pen.stroke();
}
