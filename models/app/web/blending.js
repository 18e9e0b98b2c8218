// Pasting that does not show, for `dps page`: the same steps as models/editing/blending.py, equal to one grey level.
// Planes are rows of pixels; colours lie side by side in a pixel.

/** @typedef {{height: number, width: number}} Size */
/** @typedef {Float32Array} Plane */

const FEW_SWEEPS = 8, SWEEPS = 24, MANY_PX = 2 ** 18, MIN_PX = 4;
const GRAIN_WIDTHS = [0, 0.7, 1.4], MAX_GRAIN = 8, GRAIN_SHARE = 0.93;
const MIN_SAMPLES = 64, MAX_SAMPLES = 2 ** 16;

/** Sums over the four neighbours inside of the plane.
 * @param {Plane|Uint8Array} from @param {Size} size @param {number} count of values in a pixel @param {Plane} to */
function sumNeighbours(from, { height, width }, count, to) {
  const row = width * count;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < row; x++, at++) {
      to[at] = (y ? from[at - row] : 0) + (y < height - 1 ? from[at + row] : 0)
        + (x >= count ? from[at - count] : 0) + (x < row - count ? from[at + count] : 0);
    }
  }
  return to;
}

/** @param {Plane|Uint8Array} plane @param {Size} size @param {number} count @returns {Plane} means of 2 x 2 pixels, 0 beyond the border */
function halved(plane, { height, width }, count) {
  const [h, w] = [(height + 1) >> 1, (width + 1) >> 1], made = new Float32Array(h * w * count);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < count; c++) made[((y >> 1) * w + (x >> 1)) * count + c] += plane[(y * width + x) * count + c] / 4;
    }
  }
  return made;
}

/** The smooth field that has the known values where they are known.
 * @param {Plane} values @param {Uint8Array} known @param {Uint8Array} inside @param {Size} size @param {number} count @returns {Plane} */
function membrane(values, known, inside, size, count) {
  const { height, width } = size, pixels = height * width;
  let field = new Float32Array(pixels * count);
  const kept = new Float32Array(pixels * count);
  for (let at = 0; at < kept.length; at++) kept[at] = known[Math.floor(at / count)] ? values[at] : 0;
  if (Math.min(height, width) <= MIN_PX || !inside.includes(1)) {
    const total = known.reduce((sum, value) => sum + value, 0);
    for (let c = 0; c < count; c++) {
      let sum = 0;
      for (let at = c; at < kept.length; at += count) sum += kept[at];
      for (let at = c; at < field.length; at += count) field[at] = sum / total;
    }
  } else {
    const half = { height: (height + 1) >> 1, width: (width + 1) >> 1 };
    const share = halved(known, size, 1), coarse = halved(kept, size, count), within = halved(inside, size, 1);
    for (let at = 0; at < coarse.length; at++) coarse[at] /= Math.max(share[Math.floor(at / count)], 0.25);
    const small = membrane(coarse, Uint8Array.from(share, (value) => Number(value > 0)),
      Uint8Array.from(within, (value, at) => Number(value > 0 && !share[at])), half, count);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < count; c++, at++) field[at] = small[((y >> 1) * half.width + (x >> 1)) * count + c];
      }
    }
  }
  const around = sumNeighbours(Uint8Array.from(known, (value, at) => value | inside[at]), size, 1, new Float32Array(pixels));
  for (let at = 0; at < field.length; at++) {
    const pixel = Math.floor(at / count);
    if (known[pixel]) field[at] = values[at];
    else if (!inside[pixel]) field[at] = 0;
  }
  let next = new Float32Array(field.length);
  for (let turn = pixels <= MANY_PX ? SWEEPS : FEW_SWEEPS; turn; turn--) {
    sumNeighbours(field, size, count, next);
    for (let pixel = 0, at = 0; pixel < pixels; pixel++) {
      const gain = inside[pixel] ? 1 / Math.max(around[pixel], 1) : 0;
      for (let c = 0; c < count; c++, at++) next[at] = next[at] * gain + kept[at];
    }
    [field, next] = [next, field];
  }
  return field;
}

/** Poisson blending. @param {Plane} painted colours @param {Plane} photo @param {Uint8Array} inside @param {Size} size @returns {Plane} */
export function carryRim(painted, photo, inside, size) {
  const near = sumNeighbours(painted.map((value, at) => inside[Math.floor(at / 3)] ? value : 0), size, 3, new Float32Array(painted.length));
  const share = sumNeighbours(inside, size, 1, new Float32Array(inside.length));
  const rim = share.map((value, at) => Number(value > 0 && !inside[at]));
  if (!rim.includes(1)) return painted;
  const lack = photo.map((value, at) => value - (painted[at] + near[at] / Math.max(share[Math.floor(at / 3)], 1)) / 2);
  const field = membrane(lack, Uint8Array.from(rim), inside, size, 3);
  return painted.map((value, at) => value + field[at]);
}

/** Grow marks by squares. @param {Uint8Array} marks @param {Size} size @param {number} reach px @returns {Uint8Array} */
function grown(marks, { height, width }, reach) {
  /** @type {[number, number, number, number][]} */ const ways = [[height, width, width, 1], [width, height, 1, width]];
  for (const [lines, length, step, along] of ways) {
    const from = marks, made = new Uint8Array(marks.length);
    for (let line = 0; line < lines; line++) {
      let last = -Infinity;
      for (let at = 0; at < length; at++) {
        if (from[line * step + at * along]) last = at;
        if (at - last <= reach) made[line * step + at * along] = 1;
      }
      last = Infinity;
      for (let at = length - 1; at >= 0; at--) {
        if (from[line * step + at * along]) last = at;
        if (last - at <= reach) made[line * step + at * along] = 1;
      }
    }
    marks = made;
  }
  return marks;
}

/** Gauss, mirrored at the border. @param {Plane} plane @param {Size} size @param {number} sigma px @returns {Plane} */
export function blurred(plane, { height, width }, sigma) {
  const radius = (Math.round(8 * sigma + 1) | 1) >> 1;
  const bell = Array.from({ length: 2 * radius + 1 }, (_, at) => Math.exp(-((at - radius) ** 2) / (2 * sigma * sigma)));
  const total = bell.reduce((sum, value) => sum + value, 0);
  /** @type {[number, number, number, number][]} */ const ways = [[height, width, width, 1], [width, height, 1, width]];
  for (const [lines, length, step, along] of ways) {
    const from = plane, made = new Float32Array(plane.length);
    const taps = Array.from({ length }, (_, at) => bell.map((_, tap) => mirroredAt(at + tap - radius, length) * along));
    for (let line = 0; line < lines; line++) {
      for (let at = 0; at < length; at++) {
        let sum = 0;
        for (let tap = 0; tap < bell.length; tap++) sum += bell[tap] * from[line * step + taps[at][tap]];
        made[line * step + at * along] = sum / total;
      }
    }
    plane = made;
  }
  return plane;
}

/** @param {number} at @param {number} length @returns {number} mirrored into [0, length), the border once */
function mirroredAt(at, length) {
  if (length < 2) return 0;
  const turn = ((at % (2 * length - 2)) + 2 * length - 2) % (2 * length - 2);
  return turn < length ? turn : 2 * length - 2 - turn;
}

/** @param {Plane} plane @param {Size} size @returns {Plane[]} */
function octavesOf(plane, size) {
  const levels = GRAIN_WIDTHS.map((width) => width ? blurred(plane, size, width) : plane);
  return levels.slice(1).map((wide, at) => wide.map((value, spot) => levels[at][spot] - value));
}

/** Standard deviation by the median. @param {number[]} values @returns {number} */
function spread(values) {
  const step = Math.max(1, Math.floor(values.length / MAX_SAMPLES));
  const chosen = step > 1 ? values.filter((_, at) => at % step === 0) : values;
  const median = (/** @type {Float32Array} */ some) => {
    some.sort();
    return (some[(some.length - 1) >> 1] + some[some.length >> 1]) / 2;
  };
  const middle = median(Float32Array.from(chosen));
  return 1.4826 * median(Float32Array.from(chosen, (value) => Math.abs(value - middle)));
}

/** @param {Plane} plane @param {Uint8Array} where @returns {number[]} */
function chosenOf(plane, where) {
  const found = [];
  for (let at = 0; at < where.length; at++) if (where[at]) found.push(plane[at]);
  return found;
}

/** Spread of each octave in blocks, carried over blocks that have too few pixels.
 * @param {Plane[]} octaves @param {Uint8Array} where @param {Size} size @param {number} block px
 * @returns {(octave: number, y: number, x: number) => number} */
function spreadMap(octaves, where, { height, width }, block) {
  const shape = { height: Math.ceil(height / block), width: Math.ceil(width / block) }, count = octaves.length;
  const values = new Float32Array(shape.height * shape.width * count), known = new Uint8Array(shape.height * shape.width);
  for (let at = 0; at < known.length; at++) {
    const [top, left] = [Math.floor(at / shape.width) * block, (at % shape.width) * block];
    /** @type {number[]} */ const spots = [];
    for (let y = top; y < Math.min(height, top + block); y++) {
      for (let x = left; x < Math.min(width, left + block); x++) if (where[y * width + x]) spots.push(y * width + x);
    }
    if (spots.length < MIN_SAMPLES) continue;
    known[at] = 1;
    octaves.forEach((octave, c) => { values[at * count + c] = spread(spots.map((spot) => octave[spot])); });
  }
  if (!known.includes(1)) {
    const whole = octaves.map((octave) => spread(chosenOf(octave, where)));
    return (octave) => whole[octave];
  }
  const field = membrane(values, known, known.map((value) => 1 - value), shape, count);
  const near = (/** @type {number} */ at, /** @type {number} */ length) => {
    const place = Math.min(length - 1, Math.max(0, (at + 0.5) / block - 0.5)), base = Math.min(Math.floor(place), Math.max(0, length - 2));
    return [base, Math.min(base + 1, length - 1), place - base];
  };
  return (octave, y, x) => {
    const [top, bottom, down] = near(y, shape.height), [left, right, across] = near(x, shape.width);
    const read = (/** @type {number} */ row, /** @type {number} */ column) => field[(row * shape.width + column) * count + octave];
    return (read(top, left) * (1 - across) + read(top, right) * across) * (1 - down) + (read(bottom, left) * (1 - across) + read(bottom, right) * across) * down;
  };
}

/** Nearly normal numbers by the place of a pixel in the photo. @param {number} top @param {number} left @param {Size} size @returns {Plane} */
function noiseAt(top, left, { height, width }) {
  const made = new Float32Array(height * width).fill(-2);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      for (let turn = 0; turn < 4; turn++) {
        let mixed = Math.imul(left + x, 0x9e3779b1) ^ Math.imul(top + y, 0x85ebca77) ^ Math.imul(turn, 0xc2b2ae3d);
        for (const multiplier of [0x7feb352d, 0x846ca68b]) mixed = Math.imul(mixed ^ (mixed >>> 16), multiplier);
        made[at] += ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
      }
    }
  }
  return made;
}

/** Add what the hole lacks of the fine noise around it.
 * @param {Plane} blended colours of the region @param {Uint8ClampedArray} rgba of the photo @param {Size} photo
 * @param {Uint8Array} inside of the region @param {Size} region @param {number} top @param {number} left @returns {Plane} */
export function addGrain(blended, rgba, photo, inside, region, top, left) {
  const side = Math.sqrt(inside.reduce((sum, value) => sum + value, 0));
  const reach = Math.floor(Math.max(8, 0.25 * side)), block = Math.floor(Math.max(8, 0.1 * side));
  const [first, start] = [Math.max(0, top - reach), Math.max(0, left - reach)];
  const size = { height: Math.min(photo.height, top + region.height + reach) - first,
    width: Math.min(photo.width, left + region.width + reach) - start };
  const around = new Float32Array(size.height * size.width), hole = new Uint8Array(around.length);
  for (let y = 0, at = 0; y < size.height; y++) {
    for (let x = 0; x < size.width; x++, at++) {
      const spot = 4 * ((first + y) * photo.width + start + x);
      around[at] = 0.299 * rgba[spot] + 0.587 * rgba[spot + 1] + 0.114 * rgba[spot + 2];
    }
  }
  const mixed = around.slice();
  const places = Uint32Array.from(inside, (_, at) => (top - first + Math.floor(at / region.width)) * size.width + left - start + at % region.width);
  places.forEach((place, at) => {
    hole[place] = inside[at];
    if (inside[at]) mixed[place] = 0.299 * blended[3 * at] + 0.587 * blended[3 * at + 1] + 0.114 * blended[3 * at + 2];
  });
  const [wide, close] = [grown(hole, size, reach), grown(hole, size, 4)];
  const beside = wide.map((value, at) => value - close[at]);
  let within = grown(hole.map((value) => 1 - value), size, 4).map((value) => 1 - value);
  const count = (/** @type {Uint8Array} */ marks) => marks.reduce((sum, value) => sum + value, 0);
  if (count(beside) < MIN_SAMPLES) return blended;
  if (count(within) < MIN_SAMPLES) within = hole;
  const [wanted, held] = [octavesOf(around, size), octavesOf(mixed, size)];
  const most = wanted.map((octave) => spread(chosenOf(octave, beside)));
  const [rim, own] = [spreadMap(wanted, beside, size, block), spreadMap(held, within, size, block)];
  const noise = octavesOf(noiseAt(first, start, size), size);
  const scales = noise.map((octave) => {
    const mean = octave.reduce((sum, value) => sum + value, 0) / octave.length;
    return 1 / Math.max(1e-6, Math.sqrt(octave.reduce((sum, value) => sum + (value - mean) ** 2, 0) / octave.length));
  });
  const made = blended.slice();
  places.forEach((place, at) => {
    if (!inside[at]) return;
    const [y, x] = [Math.floor(place / size.width), place % size.width];
    const grain = noise.reduce((sum, octave, c) => {
      const lack = (GRAIN_SHARE * Math.min(rim(c, y, x), most[c])) ** 2 - own(c, y, x) ** 2;
      return sum + octave[place] * Math.min(MAX_GRAIN, Math.sqrt(Math.max(0, lack))) * scales[c];
    }, 0);
    for (let c = 0; c < 3; c++) made[3 * at + c] += grain;
  });
  return made;
}
