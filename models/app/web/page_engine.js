// The engine of `dps page`: the networks run in this tab, by ONNX Runtime as WebAssembly on one thread.

import { Drawing } from "./drawing.js";
import { packEdit, readEdit, requestOf } from "./edit_file.js";
import { boxFrame, dilateSketch, paste, regionOf, takeMarks, takePhoto, thinLines, wholeFrame } from "./imaging.js";
import { markedJpeg, markedPng, readProfile, sha256, sorted } from "./mark.js";
import { SIDE, drawLines, findLines } from "./own_lines.js";

/** @typedef {import("./engine.js").Role} Role */
/** @typedef {import("./engine.js").Opened} Opened */

const ROOT = new URL("../", import.meta.url);
const METHOD = "Deep Plastic Surgery";
const MAX_PIXELS = 50_000_000;

/** @implements {import("./engine.js").Engine} */
export class PageEngine {
  constructor() {
    /** @type {{rgba: ImageData, file: Blob, suffix: string, stem: string, sha: string, box: number[], profile: Blob|null, isPlaced?: boolean}|null} */ this.photo = null;
    /** @type {Map<string, string>} */ this.files = new Map();
    /** @type {Map<string, Float32Array>} */ this.painted = new Map();
    /** @type {Promise<any>|undefined} of edges, once they are asked for */ this.detector = undefined;
    this.loading = this.load();
    this.loading.catch(() => {});
  }

  async load() {
    if ("serviceWorker" in navigator) navigator.serviceWorker.register(new URL("sw.js", ROOT)).catch(() => {});
    const runtime = await import(new URL("runtime/ort.wasm.min.mjs", ROOT).href);
    runtime.env.wasm.numThreads = 1;
    runtime.env.wasm.wasmPaths = new URL("runtime/", ROOT).href;
    const about = await (await fetch(new URL("networks/edit.json", ROOT))).json();
    return { runtime, about, session: await open(runtime, "edit.onnx") };
  }

  async status() {
    const failed = await Promise.race([this.loading.then(() => null, (error) => error), new Promise((resolve) => setTimeout(() => resolve("wait"), 50))]);
    if (failed === "wait") return /** @type {const} */ ({ state: "loading", message: "Loading the networks ..." });
    if (failed) return /** @type {const} */ ({ state: "missing", message: `The networks could not be loaded (${failed.message || failed}). Reload the page.` });
    return /** @type {const} */ ({ state: "ready", methods: [{ name: METHOD, hasLevel: true, limits: [] }] });
  }

  /** @param {Blob} file @param {string} name @returns {Promise<Opened>} */
  async openPhoto(file, name) {
    const profile = await readProfile(file);
    const isOurs = profile && await profile.slice(16, 20).text() === "RGB "; // others are of inks or of grey, and the browser converts them
    const image = await createImageBitmap(file, { colorSpaceConversion: profile && !isOurs ? "default" : "none", imageOrientation: "from-image" }).catch(() => {
      throw new Error(`${name.slice(0, 80)} cannot be opened as a photo. Choose a JPEG or PNG photo.`);
    });
    const { width, height } = image;
    if (width * height > MAX_PIXELS) throw new Error("This photo is larger than a tab can hold. Make it smaller.");
    const { canvas, pen } = sheet(width, height);
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width, height);
    pen.drawImage(image, 0, 0);
    const side = Math.min(width, height);
    const box = /** @type {[number, number, number]} */ ([Math.floor((width - side) / 2), Math.floor((height - side) / 2), side]);
    const stem = name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_-]/gu, "-").slice(0, 60) || "photo";
    const suffix = /\.(jpe?g|png|webp|bmp|tiff?)$/i.exec(name)?.[0].toLowerCase() || ".img";
    this.photo = { file, suffix, rgba: pen.getImageData(0, 0, width, height), stem, sha: await sha256(await file.arrayBuffer()), box, profile: isOurs ? profile : null };
    this.painted.clear();
    const notes = width === height ? [] : ["Move the dashed square over the face, from the hair to the shoulders."];
    return { photo: await toUrl(canvas, this.photo.profile), width, height, box, stem, level: 0.5, exact: false, marked: true, notes, layers: {} };
  }

  async openSample() {
    const file = await (await fetch(new URL("web/sample.jpg", ROOT))).blob();
    const opened = await this.openPhoto(file, "sample.jpg");
    return { ...opened, file: await toBase64(file), name: "sample.jpg" };
  }

  /** @param {File[]} files @returns {Promise<Opened>} */
  async openEdit(files) {
    const { run: { config, frame, weights }, inputs } = await readEdit(files);
    const opened = await this.openPhoto(inputs.photo, inputs.photo.name);
    const { about } = await this.loading, { photo } = this, notes = [];
    if (JSON.stringify(sorted(weights)) !== JSON.stringify(sorted(about.weights))) notes.push("This edit was made with other weights, so its results will differ.");
    if (config.box) opened.box = [config.box[0], config.box[1], Math.max(config.box[2], config.box[3])];
    else if (frame && !frame[0][1] && frame[0][0] === frame[1][1]) {
      const [[step, , shift], [, , drop]] = frame;
      opened.box = [0.5 - (shift + 0.5) / step, 0.5 - (drop + 0.5) / step, about.size / step];
    } else if (config.align !== "none" || opened.width !== opened.height) notes.push("This page cannot place the face square of this edit. Move the square over the face.");
    if (photo) {
      photo.box = opened.box;
      photo.isPlaced = opened.width !== opened.height || opened.box.some((value, at) => Math.abs(value - [0, 0, opened.width][at]) > 0.01);
    }
    for (const role of /** @type {Role[]} */ (["mask", "sketch"])) {
      if (inputs[role]) opened.layers[role] = await this.addLayer(role, inputs[role], inputs[role].name);
    }
    return { ...opened, file: await toBase64(inputs.photo), name: inputs.photo.name, level: config.levels.at(-1), exact: config.blend !== "poisson", marked: config.provenance !== false, notes };
  }

  /** @param {Role} role @param {Blob} file @param {string} name */
  async addLayer(role, file, name) {
    const { rgba } = this.current();
    const image = await createImageBitmap(file).catch(() => { throw new Error(`${name} cannot be opened as a ${role}.`); });
    if (image.width !== rgba.width || image.height !== rgba.height) {
      throw new Error(`The ${role} ${name} has ${image.width} x ${image.height} px, but the photo has ${rgba.width} x ${rgba.height} px. Save both at one size.`);
    }
    const { canvas, pen } = sheet(image.width, image.height);
    pen.fillStyle = role === "mask" ? "#000" : "#fff";
    pen.fillRect(0, 0, image.width, image.height);
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, image.width, image.height);
    for (let at = 0; at < pixels.data.length; at += 4) {
      const isLight = (299 * pixels.data[at] + 587 * pixels.data[at + 1] + 114 * pixels.data[at + 2]) / 1000 > 127.5;
      pixels.data.fill(isLight === (role === "mask") ? 255 : 0, at, at + 3);
    }
    pen.putImageData(pixels, 0, 0);
    return { ...await this.keep(canvas), notes: [] };
  }

  /** @param {HTMLCanvasElement} canvas white = hole or line @returns {Promise<import("./engine.js").LayerFile>} */
  async keep(canvas) {
    const url = await toUrl(canvas), id = await sha256(new TextEncoder().encode(url).buffer);
    this.files.set(id, url);
    return { id, url };
  }

  /** The photo's own lines inside of the hole, beside what is drawn already. @param {string} text */
  async ownLines(text) {
    const { rgba } = this.current(), { runtime } = await this.loading, { hole, lines, box } = await this.paint(text);
    if (!hole.includes(1)) throw new Error("The hole is empty. Paint over what should change, then take the photo's own lines.");
    this.detector ||= open(runtime, "lines.onnx").catch(() => { // may be asked again
      this.detector = undefined;
      throw new Error("The edge detector could not be loaded. Reload the page.");
    });
    const { width, height } = rgba, frame = box ? boxFrame(width, height, SIDE, box) : wholeFrame(width, height, SIDE);
    const photo = new runtime.Tensor("float32", takePhoto(rgba.data, frame), [1, 3, SIDE, SIDE]);
    const { edges } = await (await this.detector).run({ photo });
    const { canvas, pen } = sheet(width, height);
    drawLines(pen, findLines(edges.data, SIDE), frame);
    const own = marksOf(pen.getImageData(0, 0, width, height).data).map((value, at) => value & hole[at]);
    pen.putImageData(marksImage(lines.map((value, at) => value | own[at]), width, height), 0, 0);
    return { ...await this.keep(canvas), notes: own.includes(1) ? [] : ["The photo has no clear line inside of the hole."] };
  }
  /** @returns {Promise<{box: [number, number, number]}>} */
  async pickFace() { throw new Error("This page does not find faces. Drag the dashed square over one."); }

  current() {
    if (!this.photo) throw new Error("Choose a photo first, or use the sample.");
    return this.photo;
  }

  /** @param {string} text */
  async paint(text) {
    const { rgba: { width, height }, box, isPlaced } = this.current(), read = JSON.parse(text);
    const drawing = new Drawing(width, height, Infinity);
    for (const role of /** @type {Role[]} */ (["mask", "sketch"])) {
      const steps = read[role].map((/** @type {any} */ step) => step.kind === "file" ? { ...step, url: this.files.get(step.id) } : step);
      await drawing.add({ role, steps });
    }
    const [hole, lines] = (/** @type {Role[]} */ (["mask", "sketch"])).map((role) => {
      const pen = /** @type {CanvasRenderingContext2D} */ (drawing.layers[role].getContext("2d"));
      const { data } = pen.getImageData(0, 0, width, height);
      return marksOf(data);
    });
    const isWhole = !read.box && !isPlaced && width === height;
    return { hole, lines, box: isWhole ? null : read.box || box };
  }

  /** @param {string} text @param {number} level @param {boolean} exact */
  async edit(text, level, exact) {
    const { rgba } = this.current(), { about, session, runtime } = await this.loading;
    const { hole, lines, box } = await this.paint(text);
    const { size } = about, frame = box ? boxFrame(rgba.width, rgba.height, size, box) : wholeFrame(rgba.width, rgba.height, size);
    const notes = [];
    if (!hole.includes(1)) throw new Error("The hole is empty. Paint over what should change.");
    const mask = takeMarks(hole, frame);
    if (!mask.includes(1)) throw new Error("The hole is outside the dashed face square, so nothing would change.");
    const seen = lines.map((value, at) => value & hole[at]);
    if (!seen.includes(1)) notes.push("There is no line inside of the hole, so it is filled without one.");
    const key = `${level}|${box}|${text}`;
    let painted = this.painted.get(key);
    if (!painted) {
      const tensor = (/** @type {Float32Array} */ data, /** @type {number[]} */ shape) => new runtime.Tensor("float32", data, shape);
      const sketch = dilateSketch(thinLines(takeMarks(seen, frame), size), size, level, about.pen_px);
      const out = await session.run({
        photo: tensor(takePhoto(rgba.data, frame), [1, 3, size, size]),
        sketch: tensor(sketch, [1, 1, size, size]),
        mask: tensor(Float32Array.from(mask), [1, 1, size, size]),
        level: tensor(Float32Array.of(level), [1]),
      });
      painted = /** @type {Float32Array} */ (out.painted.data);
      this.painted.set(key, painted);
      if (this.painted.size > 30) this.painted.delete(/** @type {string} */ (this.painted.keys().next().value));
    }
    const pixels = new ImageData(paste(rgba.data, painted, hole, frame, !exact), rgba.width, rgba.height);
    return { pixels, hole, lines, box, notes };
  }

  /** @param {string} text @param {number} level @param {string} method @param {boolean} exact */
  async run(text, level, method, exact) {
    const { pixels, hole, notes } = await this.edit(text, level, exact);
    const region = /** @type {NonNullable<ReturnType<typeof regionOf>>} */ (regionOf(hole, pixels));
    const { left, top, width, height } = region, { canvas, pen } = sheet(width, height);
    pen.putImageData(pixels, -left, -top);
    return { level, url: await toUrl(canvas, this.current().profile), box: [left, top, width, height], notes };
  }

  /** @param {string} kind @param {string} text @param {number} level @param {string} method @param {boolean} exact @param {boolean} marked */
  async save(kind, text, level, method, exact, marked) {
    const { stem, rgba, sha, file, suffix, profile } = this.current();
    if (kind === "mask" || kind === "sketch") {
      const { hole, lines } = await this.paint(text);
      return { name: `${kind}.png`, data: await layerFile(kind, kind === "mask" ? hole : lines, rgba.width, rgba.height) };
    }
    const { pixels, hole, lines, box, notes } = await this.edit(text, level, exact);
    const { canvas, pen } = sheet(pixels.width, pixels.height), { about } = await this.loading;
    pen.putImageData(pixels, 0, 0);
    const bare = await toBlob(canvas, kind === "jpeg" ? "image/jpeg" : "image/png");
    const layers = { "mask.png": await layerFile("mask", hole, rgba.width, rgba.height), "sketch.png": await layerFile("sketch", lines, rgba.width, rgba.height) };
    const [mask, sketch] = await Promise.all(Object.values(layers).map(async (blob) => sha256(await blob.arrayBuffer())));
    const request = { config: requestOf(level, box, exact, marked), inputs: { mask, photo: sha, sketch }, weights: about.weights };
    const data = await (kind === "jpeg" ? markedJpeg : markedPng)(bare, profile, marked ? request : null, about.version);
    if (kind !== "zip") return { name: `${stem}-l${level}.${kind === "jpeg" ? "jpg" : "png"}`, data };
    const inputs = { ...layers, [`photo${suffix}`]: file };
    return { name: `${stem}-edit.zip`, data: await packEdit(request, inputs, about.version, `l${level}.png`, data, `${stem}-edit`, notes) };
  }
}

/** @param {any} runtime @param {string} name of a network */
async function open(runtime, name) {
  const response = await fetch(new URL(`networks/${name}`, ROOT));
  if (!response.ok) throw new Error(`${name} is missing`);
  return runtime.InferenceSession.create(new Uint8Array(await response.arrayBuffer()), { executionProviders: ["wasm"] });
}

/** @param {string} kind @param {Uint8Array} marks @param {number} width @param {number} height */
async function layerFile(kind, marks, width, height) {
  const { canvas, pen } = sheet(width, height);
  pen.putImageData(marksImage(kind === "mask" ? marks : marks.map((value) => 1 - value), width, height), 0, 0);
  return toBlob(canvas, "image/png");
}

/** @param {Uint8ClampedArray} rgba @returns {Uint8Array} 1 where it is painted */
function marksOf(rgba) {
  const marks = new Uint8Array(rgba.length / 4);
  for (let at = 0; at < marks.length; at++) marks[at] = Number(rgba[4 * at + 3] > 127);
  return marks;
}

/** @param {Uint8Array} marks shown in white @param {number} width @param {number} height */
function marksImage(marks, width, height) {
  const pixels = new ImageData(width, height);
  marks.forEach((value, at) => {
    pixels.data.fill(255 * value, 4 * at, 4 * at + 3);
    pixels.data[4 * at + 3] = 255;
  });
  return pixels;
}

/** @param {number} width @param {number} height */
function sheet(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  return { canvas, pen: /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true })) };
}

/** @param {HTMLCanvasElement} canvas @param {string} kind @returns {Promise<Blob>} */
function toBlob(canvas, kind) {
  return new Promise((resolve, reject) => canvas.toBlob((made) => made ? resolve(made) : reject(new Error("There is not enough memory for this photo.")), kind, 0.95));
}

/** @param {HTMLCanvasElement} canvas @param {Blob|null} [profile] of its colours */
async function toUrl(canvas, profile = null) {
  return `data:image/png;base64,${await toBase64(await markedPng(await toBlob(canvas, "image/png"), profile, null, ""))}`;
}

/** @param {Blob} blob @returns {Promise<string>} */
function toBase64(blob) {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",")[1]);
    reader.readAsDataURL(blob);
  });
}
