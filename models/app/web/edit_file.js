// Saved edits, in and out, for `dps page`: the zip of `dps app`, which `dps edit --from` repeats.

import { crc32, sha256, sorted } from "./mark.js";

const MAX_BYTES = 2 ** 29, MAX_MEMBERS = 10_000;
const INPUT = /(?:^|\/)((photo|sketch|mask)\.[a-z]{3,4})$/;
const UNREADABLE = "This file is no edit that can be read. Choose the zip that Edit (zip) wrote.";

/** What a `run.json` and the mark of a picture say of an edit.
 * @param {number} level @param {number[]|null} box left, top and side; null for the whole photo @param {boolean} exact @param {boolean} marked */
export function requestOf(level, box, exact, marked) {
  return { align: box ? "auto" : "none", blend: exact ? "none" : "poisson", box: box && [box[0], box[1], box[2], box[2]], command: "edit",
    device: "cpu", eyes: null, feather_px: 0, grain: !exact, invert_mask: false, levels: [level], precision: "fp32",
    provenance: marked, weights: "bundled" };
}

/** @param {{config: object, inputs: Record<string, string>, weights: object}} request @param {Record<string, Blob>} inputs by name: photo.jpg ...
 * @param {string} version @param {string} name of the result @param {Blob} result @param {string} folder @param {string[]} notes @returns {Promise<Blob>} */
export async function packEdit(request, inputs, version, name, result, folder, notes) {
  const files = Object.fromEntries(Object.keys(inputs).map((file) => [file.split(".")[0], { file: `inputs/${file}`, sha256: request.inputs[file.split(".")[0]] }]));
  const run = { config: request.config, frame: null, inputs: files, notes, schema_version: 1, versions: { "deep-plastic-surgery": version }, weights: request.weights };
  const members = Object.entries(inputs).map(([file, data]) => /** @type {[string, Blob]} */ ([`inputs/${file}`, data]));
  members.push([name, result], ["run.json", new Blob([JSON.stringify(sorted(run), null, 2), "\n"])]);
  /** @type {BlobPart[]} */ const parts = [], /** @type {BlobPart[]} */ directory = [];
  let offset = 0, length = 0;
  for (const [path, blob] of members) {
    const data = new Uint8Array(await blob.arrayBuffer()), text = new TextEncoder().encode(`${folder}/${path}`);
    const head = new DataView(new ArrayBuffer(46)); // of the directory; the file's own is its middle
    [[0, 0x02014b50], [16, crc32(data)], [20, data.length], [24, data.length], [38, 0o644 << 16], [42, offset]].forEach(([at, value]) => head.setUint32(at, value, true));
    [[4, 0x031e], [6, 20], [8, 0x800], [10, 0], [12, 0], [14, 0x21], [28, text.length]].forEach(([at, value]) => head.setUint16(at, value, true));
    const local = new Uint8Array(30);
    local.set([0x50, 0x4b, 3, 4]);
    local.set(new Uint8Array(head.buffer, 6, 24), 4);
    local.set([0, 0], 28); // no extra field, as in the directory
    parts.push(local, text, data);
    directory.push(head.buffer, text);
    offset += 30 + text.length + data.length;
    length += 46 + text.length;
  }
  const end = new DataView(new ArrayBuffer(22));
  [[0, 0x06054b50], [12, length], [16, offset]].forEach(([at, value]) => end.setUint32(at, value, true));
  [8, 10].forEach((at) => end.setUint16(at, members.length, true));
  return new Blob([...parts, ...directory, end.buffer], { type: "application/zip" });
}

/** Read an edit that was saved: its zip, or the files of its folder; by fixed names, whatever paths stand in it.
 * @param {File[]} files
 * @returns {Promise<{run: any, inputs: Record<string, File>}>} inputs by role */
export async function readEdit(files) {
  const isZip = files.length === 1 && !files[0].name.toLowerCase().endsWith(".json");
  const members = isZip ? await unpack(files[0]) : files;
  const list = members.find(({ name }) => /(^|\/)run\.json$/.test(name));
  if (!list) throw new Error("There is no run.json in it. Choose the zip that Edit (zip) wrote, or all files of its folder.");
  const run = await list.text().then(JSON.parse).catch(() => null);
  if (run?.schema_version !== 1 || run.config?.command !== "edit" || !run.inputs?.photo || !Array.isArray(run.config.levels)) throw new Error(UNREADABLE);
  /** @type {Record<string, File>} */ const inputs = {};
  for (const file of members) {
    const found = INPUT.exec(file.name);
    if (!found || !run.inputs[found[2]]) continue;
    if (await sha256(await file.arrayBuffer()) !== run.inputs[found[2]].sha256) throw new Error(`${found[1]} is not the file that run.json names, so this edit cannot be opened.`);
    inputs[found[2]] = new File([file], found[1]);
  }
  if (!inputs.photo) throw new Error("The photo of this edit is not in it. Choose the zip, or all files of its folder.");
  return { run, inputs };
}

/** @param {File} zip @returns {Promise<File[]>} run.json and the inputs */
async function unpack(zip) {
  const data = new Uint8Array(await zip.arrayBuffer()), view = new DataView(data.buffer);
  let end = data.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0 || view.getUint16(end + 10, true) > MAX_MEMBERS) throw new Error(UNREADABLE);
  const made = [];
  let total = 0;
  try {
    for (let left = view.getUint16(end + 10, true), at = view.getUint32(end + 16, true); left; left--) {
      const [method, packed, sizes] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true), [28, 30, 32].map((spot) => view.getUint16(at + spot, true))];
      const name = new TextDecoder().decode(data.subarray(at + 46, at + 46 + sizes[0])), local = view.getUint32(at + 42, true);
      at += 46 + sizes[0] + sizes[1] + sizes[2];
      if (!/(^|\/)run\.json$/.test(name) && !/(^|\/)inputs\/[^/]+$/.test(name)) continue;
      const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
      const content = data.slice(start, start + packed);
      const parts = [];
      if (method === 0) parts.push(content);
      else {
        const reader = new Blob([content]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
        for (let read = await reader.read(); !read.done; read = await reader.read()) {
          parts.push(read.value);
          total += read.value.length; // the sizes in the headers are claims
          if (total > MAX_BYTES) throw new Error(UNREADABLE);
        }
      }
      made.push(new File(parts, name));
    }
  } catch {
    throw new Error(UNREADABLE);
  }
  return made;
}
