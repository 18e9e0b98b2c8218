// The mark of an edit in PNG and JPEG, as models/editing/provenance.py writes it.

const SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";

/** @param {ArrayBufferLike} data @returns {Promise<string>} */
export async function sha256(data) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", /** @type {ArrayBuffer} */ (data)));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {any} value @returns {any} the same with sorted keys */
export function sorted(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

/** @param {object} request @param {string} version */
async function packet(request, version) {
  const digest = await sha256(new TextEncoder().encode(JSON.stringify(sorted(request))).buffer);
  return new TextEncoder().encode('<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    + '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    + ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dps="urn:deep-plastic-surgery:1.0/"'
    + ` Iptc4xmpExt:DigitalSourceType="${SOURCE}" xmp:CreatorTool="Deep Plastic Surgery ${version}"`
    + ` dps:RequestSHA256="${digest}"/></rdf:RDF></x:xmpmeta>`);
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** @param {Uint8Array} data @returns {number} */
export function crc32(data) {
  let crc = 0xffffffff;
  for (const byte of data) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** @param {string} kind @param {BlobPart[]} content @returns {Promise<Uint8Array<ArrayBuffer>>} one piece of a PNG */
async function chunk(kind, ...content) {
  const body = new Uint8Array(await new Blob([kind, ...content]).arrayBuffer()), made = new Uint8Array(body.length + 8);
  const view = new DataView(made.buffer);
  view.setUint32(0, body.length - 4);
  made.set(body, 4);
  view.setUint32(made.length - 4, crc32(body));
  return made;
}

/** @param {number} marker @param {BlobPart[]} content @returns {Blob} one piece of a JPEG */
function segment(marker, ...content) {
  const body = new Blob(content), size = body.size + 2;
  return new Blob([Uint8Array.of(0xff, marker, size >> 8, size & 255), body]);
}

/** @param {Blob} png @param {Blob|null} profile @param {object|null} request null: it is not marked @param {string} version */
export async function markedPng(png, profile, request, version) {
  const made = [];
  if (profile) made.push(await chunk("iCCP", "ICC\0\0", await streamed(profile, new CompressionStream("deflate"))));
  if (request) made.push(await chunk("iTXt", "XML:com.adobe.xmp\0\0\0\0\0", await packet(request, version)));
  return new Blob([png.slice(0, 33), ...made, png.slice(33)], { type: "image/png" }); // behind the header
}

/** @param {Blob} jpeg @param {Blob|null} profile @param {object|null} request null: it is not marked @param {string} version */
export async function markedJpeg(jpeg, profile, request, version) {
  const made = [], count = Math.ceil((profile?.size || 0) / MAX_SEGMENT);
  if (request) made.push(segment(0xe1, "http://ns.adobe.com/xap/1.0/\0", await packet(request, version)));
  for (let at = 0; profile && at < count; at++) {
    made.push(segment(0xe2, PROFILE, Uint8Array.of(at + 1, count), profile.slice(at * MAX_SEGMENT, (at + 1) * MAX_SEGMENT)));
  }
  const data = new Uint8Array(await jpeg.arrayBuffer()), view = new DataView(data.buffer), pieces = [];
  let at = 2;
  for (let size = 0; view.getUint16(at) !== 0xffda; at += size) {
    size = 2 + view.getUint16(at + 2);
    if (!profile || data[at + 1] !== 0xe2) pieces.push(data.subarray(at, at + size)); // the browser's own profile goes
  }
  const isJfif = data[3] === 0xe0; // stays in front
  return new Blob([data.subarray(0, 2), ...pieces.splice(0, Number(isJfif)), ...made, ...pieces, data.subarray(at)], { type: "image/jpeg" });
}

const PROFILE = "ICC_PROFILE\0", MAX_SEGMENT = 65_000, MAX_PROFILE = 2 ** 22;

/** The colour profile that a JPEG, PNG or WebP file carries. @param {Blob} file @returns {Promise<Blob|null>} */
export async function readProfile(file) {
  const data = new Uint8Array(await file.arrayBuffer()), view = new DataView(data.buffer);
  const text = (/** @type {number} */ at, /** @type {number} */ length) => String.fromCharCode(...data.subarray(at, at + length));
  /** @type {Uint8Array<ArrayBuffer>[]} */ const parts = [];
  try {
    if (text(1, 3) === "PNG") {
      for (let at = 8; text(at + 4, 4) !== "IDAT"; at += 12 + view.getUint32(at)) {
        if (text(at + 4, 4) !== "iCCP") continue;
        const start = data.indexOf(0, at + 8) + 2; // behind the name and the method
        parts.push(await streamed(new Blob([data.subarray(start, at + 8 + view.getUint32(at))]), new DecompressionStream("deflate")));
      }
    } else if (view.getUint16(0) === 0xffd8) {
      for (let at = 2; view.getUint16(at) !== 0xffda; at += 2 + view.getUint16(at + 2)) {
        if (view.getUint8(at) !== 0xff) break;
        if (view.getUint8(at + 1) === 0xe2 && text(at + 4, 12) === PROFILE) parts[data[at + 16]] = data.subarray(at + 18, at + 2 + view.getUint16(at + 2));
      }
    } else if (text(0, 4) === "RIFF") {
      for (let at = 12; at < data.length; at += 8 + view.getUint32(at + 4, true) + view.getUint32(at + 4, true) % 2) {
        if (text(at, 4) === "ICCP") parts.push(data.subarray(at + 8, at + 8 + view.getUint32(at + 4, true)));
      }
    }
  } catch { /* a file that is cut off or wrong: the browser says so when it decodes it, or it has no profile to keep */ }
  const made = new Blob(parts.filter(Boolean));
  return made.size > 128 && made.size < MAX_PROFILE ? made : null;
}

/** @param {Blob} blob @param {CompressionStream|DecompressionStream} way */
async function streamed(blob, way) {
  return new Uint8Array(await new Response(blob.stream().pipeThrough(way)).arrayBuffer());
}
