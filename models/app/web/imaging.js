// What Python does around the networks, for `dps page`: the same steps as models/editing and dpsdata/sketch, equal to
// one grey level. Pictures are RGBA or one byte a pixel, row by row.

import { addGrain, blurred, carryRim } from "./blending.js";

/** @typedef {{width: number, height: number, size: number, step: [number, number], shift: [number, number], isWhole: boolean}} Frame
 * from px of the photo to px of the model's image: step times x plus shift, along x and along y */

/** @param {number} width @param {number} height @param {number} size @returns {Frame} the whole photo */
export function wholeFrame(width, height, size) {
  const [x, y] = [size / width, size / height];
  return { width, height, size, step: [x, y], shift: [(x - 1) / 2, (y - 1) / 2], isWhole: true };
}

/** @param {number} width @param {number} height @param {number} size @param {number[]} box left, top and side @returns {Frame} */
export function boxFrame(width, height, size, [left, top, side]) {
  const step = size / side;
  return { width, height, size, step: [step, step], isWhole: false,
    shift: [(0.5 - left) * step - 0.5, (0.5 - top) * step - 0.5] };
}

/** @param {number} at @param {number} low @param {number} high @returns {number} mirrored into [low, high), the border once */
function reflected(at, low, high) {
  const span = high - low - 1;
  if (span <= 0) return low;
  const turn = (((at - low) % (2 * span)) + 2 * span) % (2 * span);
  return low + (turn > span ? 2 * span - turn : turn);
}

/** Weights of the photo's pixels in each pixel of the model's image, along one axis.
 * @param {Frame} frame @param {0|1} axis @returns {Map<number, number>[]} */
function readingWeights(frame, axis) {
  const length = axis ? frame.height : frame.width, { size } = frame, scale = 1 / frame.step[axis];
  const made = Array.from({ length: size }, () => new Map());
  const put = (/** @type {number} */ to, /** @type {number} */ from, /** @type {number} */ weight) => {
    made[to].set(from, (made[to].get(from) || 0) + weight);
  };
  if (frame.isWhole && scale >= 1) { // means of the covered area
    for (let to = 0; to < size; to++) {
      const [low, high] = [to * scale, (to + 1) * scale];
      for (let from = Math.floor(low); from < Math.min(length, Math.ceil(high - 1e-9)); from++) {
        put(to, from, (Math.min(high, from + 1) - Math.max(low, from)) / scale);
      }
    }
    return made;
  }
  const first = (0 - 0.5 - frame.shift[axis]) / frame.step[axis] + 0.5;
  const last = (size - 0.5 - frame.shift[axis]) / frame.step[axis] + 0.5;
  const margin = 2 * scale + 4;
  const [low, high] = [Math.max(Math.floor(first - margin), 0), Math.min(Math.ceil(last + margin), length)];
  const sigma = scale > 1 ? 0.5 * Math.sqrt(scale * scale - 1) + 1e-6 : 0;
  const radius = sigma ? (Math.round(6 * sigma + 1) | 1) >> 1 : 0;
  const bell = Array.from({ length: 2 * radius + 1 }, (_, at) => Math.exp(-((at - radius) ** 2) / (2 * sigma * sigma || 1)));
  const total = bell.reduce((sum, value) => sum + value, 0);
  for (let to = 0; to < size; to++) {
    const place = (to - frame.shift[axis]) / frame.step[axis], base = Math.floor(place), part = place - base;
    for (const [at, weight] of [[base, 1 - part], [base + 1, part]]) {
      if (!weight) continue;
      const middle = reflected(at, low, high);
      for (let tap = -radius; tap <= radius; tap++) put(to, reflected(middle + tap, low, high), weight * bell[tap + radius] / total);
    }
  }
  return made;
}

/** Cut the frame out of a photo. @param {Uint8ClampedArray} rgba @param {Frame} frame @returns {Float32Array} (3, S, S) in [-1, 1] */
export function takePhoto(rgba, frame) {
  const { size, width, height } = frame;
  const [across, down] = [readingWeights(frame, 0), readingWeights(frame, 1)];
  const out = new Float32Array(3 * size * size), rows = new Map();
  const row = (/** @type {number} */ y) => {
    let made = rows.get(y);
    if (!made) {
      rows.set(y, made = new Float32Array(3 * size));
      for (let x = 0; x < size; x++) {
        for (const [from, weight] of across[x]) {
          for (let c = 0; c < 3; c++) made[3 * x + c] += weight * rgba[4 * (y * width + from) + c];
        }
      }
    }
    return made;
  };
  const sum = new Float32Array(3 * size);
  for (let y = 0; y < size; y++) {
    sum.fill(0);
    for (const [from, weight] of down[y]) {
      const line = row(Math.min(height - 1, from));
      for (let at = 0; at < sum.length; at++) sum[at] += weight * line[at];
    }
    for (let x = 0; x < size; x++) {
      for (let c = 0; c < 3; c++) out[(c * size + y) * size + x] = Math.round(sum[3 * x + c]) / 127.5 - 1;
    }
  }
  return out;
}

/** Cut marks out; what touches a pixel of the model at all is kept. @param {Uint8Array} marks 0 and 1 @param {Frame} frame @returns {Uint8Array} (S, S) */
export function takeMarks(marks, frame) {
  const { width, height, size } = frame;
  const spots = ([0, 1]).map((axis) => {
    const length = axis ? height : width, scale = 1 / frame.step[axis];
    const reach = Math.ceil(Math.max(0, scale - 1 - 1e-9) / 2);
    return Array.from({ length: size }, (_, to) => {
      const at = frame.isWhole ? Math.floor((2 * to + 1) * length / (2 * size))
        : Math.floor((to - frame.shift[axis]) / frame.step[axis] + 0.5);
      return at < 0 || at >= length ? [0, 0] : [Math.max(0, at - reach), Math.min(length, at + reach + 1)];
    });
  });
  const out = new Uint8Array(size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [[left, right], [top, bottom]] = [spots[0][x], spots[1][y]];
      for (let v = top; v < bottom && !out[y * size + x]; v++) {
        for (let u = left; u < right; u++) if (marks[v * width + u]) { out[y * size + x] = 1; break; }
      }
    }
  }
  return out;
}

const [KEEP_FIRST, KEEP_SECOND] = (() => {
  const tables = [new Uint8Array(256).fill(1), new Uint8Array(256).fill(1)];
  for (let code = 0; code < 256; code++) {
    const n = Array.from({ length: 8 }, (_, bit) => (code >> bit) & 1);
    const count = (/** @type {(at: number) => number} */ test, /** @type {number} */ from) => {
      let total = 0;
      for (let at = from; at < 8; at += 2) total += test(at);
      return total;
    };
    const crossings = count((at) => Number(!n[at] && (n[at + 1] || n[(at + 2) % 8])), 0);
    const pairs = Math.min(count((at) => n[at] | n[at + 1], 0), count((at) => n[at] | n[(at + 1) % 8], 1));
    if (crossings !== 1 || pairs < 2 || pairs > 3) continue;
    tables[0][code] = Number((n[1] || n[2] || !n[7]) && n[0]);
    tables[1][code] = Number((n[5] || n[6] || !n[3]) && n[4]);
  }
  return tables;
})();
const NEIGHBOURS = [[-1, -1, 8], [-1, 0, 4], [-1, 1, 2], [0, -1, 16], [0, 1, 1], [1, -1, 32], [1, 0, 64], [1, 1, 128]];

/** Guo and Hall's thinning. @param {Uint8Array} lines (S, S) of 0 and 1 @param {number} size @returns {Uint8Array} */
export function thinLines(lines, size) {
  let thin = lines.slice();
  for (let changed = true; changed;) {
    changed = false;
    for (const keep of [KEEP_FIRST, KEEP_SECOND]) {
      const next = thin.slice();
      for (let at = 0; at < thin.length; at++) {
        if (!thin[at]) continue;
        const y = Math.floor(at / size), x = at % size;
        let code = 0;
        for (const [dy, dx, bit] of NEIGHBOURS) {
          const v = y + dy, u = x + dx;
          if (v >= 0 && v < size && u >= 0 && u < size && thin[v * size + u]) code |= bit;
        }
        if (!keep[code]) { next[at] = 0; changed = true; }
      }
      thin = next;
    }
  }
  return thin;
}

/** Draw with a soft pen, then thicken for the level. @param {Uint8Array} thin (S, S) @param {number} size up to 256
 * @param {number} level @param {number} penPx diameter at level 1 @returns {Float32Array} (S, S) in [0, 1] */
export function dilateSketch(thin, size, level, penPx) {
  const bell = Array.from({ length: 7 }, (_, at) => Math.exp(-0.5 * ((at - 3) / 0.8) ** 2));
  const total = bell.reduce((sum, value) => sum + value, 0);
  const at = (/** @type {number} */ value) => Math.min(size - 1, Math.max(0, value));
  /** @param {Float32Array|Uint8Array} from @param {(source: any, y: number, x: number) => number} read */
  const each = (from, read) => {
    const made = new Float32Array(size * size);
    for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) made[y * size + x] = read(from, y, x);
    return made;
  };
  const across = each(thin, (from, y, x) => bell.reduce((sum, value, tap) => sum + value / total * from[y * size + at(x + tap - 3)], 0));
  const soft = each(across, (from, y, x) => Math.min(1, 4 * bell.reduce((sum, value, tap) => sum + value / total * from[at(y + tap - 3) * size + x], 0)));
  const most = (penPx - 1) >> 1, radius = (penPx - 1) / 2 * Math.fround(level);
  const small = Math.min(Math.floor(radius), most), large = Math.min(small + 1, most), weight = radius - small;
  const boxes = (/** @type {number} */ reach) => {
    const sums = (/** @type {Float32Array} */ from, /** @type {boolean} */ isAcross) => each(from, (source, y, x) => {
      let sum = 0;
      for (let tap = -reach; tap <= reach; tap++) sum += isAcross ? source[y * size + at(x + tap)] : source[at(y + tap) * size + x];
      return sum;
    });
    return sums(sums(soft, true), false);
  };
  const [one, two] = [boxes(small), weight ? boxes(large) : null];
  return one.map((value, spot) => Math.min(1, two ? value * (1 - weight) + two[spot] * weight : value));
}

/** Weights of a cubic at four neighbours, as OpenCV has it. @param {number} part @returns {number[]} */
function cubic(part) {
  const a = -0.75, far = (/** @type {number} */ x) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  const near = (/** @type {number} */ x) => ((a + 2) * x - (a + 3)) * x * x + 1;
  const [first, second, third] = [far(part + 1), near(part), near(1 - part)];
  return [first, second, third, 1 - first - second - third];
}

/** Put the painted image into the hole; every other pixel stays.
 * @param {Uint8ClampedArray} rgba @param {Float32Array} painted (3, S, S) in [-1, 1] @param {Uint8Array} hole @param {Frame} frame
 * @param {boolean} [isBlended] with the colours of the rim and the grain of the photo
 * @returns {Uint8ClampedArray} */
export function paste(rgba, painted, hole, frame, isBlended = false) {
  const { width, height, size } = frame, out = rgba.slice(), region = regionOf(hole, frame);
  if (!region) return out;
  const sharp = [0, 1, 2].map((c) => painted.subarray(c * size * size, (c + 1) * size * size));
  const planes = frame.isWhole || frame.step[0] <= 1 ? sharp
    : sharp.map((plane) => blurred(plane, { height: size, width: size }, 0.5 * Math.sqrt(frame.step[0] ** 2 - 1) + 1e-6));
  const taps = (/** @type {0|1} */ axis, /** @type {number} */ at) => {
    const place = frame.step[axis] * at + frame.shift[axis], base = Math.floor(place);
    return { weights: cubic(place - base), spots: [-1, 0, 1, 2].map((tap) => Math.min(size - 1, Math.max(0, base + tap))),
      isCovered: frame.isWhole || (place >= -0.5 && place <= size - 0.5) };
  };
  const columns = Array.from({ length: region.width }, (_, x) => taps(0, region.left + x));
  let values = new Float32Array(3 * region.width * region.height);
  const inside = new Uint8Array(region.width * region.height), photo = new Float32Array(values.length);
  for (let y = 0, at = 0; y < region.height; y++) {
    const row = taps(1, region.top + y);
    for (let x = 0; x < region.width; x++, at++) {
      const column = columns[x], spot = (region.top + y) * width + region.left + x;
      inside[at] = Number(hole[spot] && row.isCovered && column.isCovered);
      for (let c = 0; c < 3; c++) {
        photo[3 * at + c] = rgba[4 * spot + c];
        if (!isBlended && !inside[at]) continue;
        let value = 0;
        for (let v = 0; v < 4; v++) {
          const line = row.spots[v] * size;
          let sum = 0;
          for (let u = 0; u < 4; u++) sum += column.weights[u] * planes[c][line + column.spots[u]];
          value += row.weights[v] * sum;
        }
        values[3 * at + c] = (value + 1) * 127.5;
      }
    }
  }
  if (isBlended) values = addGrain(carryRim(values, photo, inside, region), rgba, { width, height }, inside, region, region.top, region.left);
  inside.forEach((value, at) => {
    const spot = (region.top + Math.floor(at / region.width)) * width + region.left + at % region.width;
    for (let c = 0; value && c < 3; c++) out[4 * spot + c] = Math.round(values[3 * at + c]);
  });
  return out;
}

/** The rows and columns of the hole, and one pixel more on each side. @param {Uint8Array} hole @param {{width: number, height: number}} photo */
export function regionOf(hole, { width, height }) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!hole[at]) continue;
      [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), y];
    }
  }
  if (right < 0) return null;
  [left, top, right, bottom] = [Math.max(0, left - 1), Math.max(0, top - 1), Math.min(width, right + 2), Math.min(height, bottom + 2)];
  return { left, top, width: right - left, height: bottom - top };
}
