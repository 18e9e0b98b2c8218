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

/** @param {Blob} png @param {object} request @param {string} version */
export async function markedPng(png, request, version) {
  const text = await packet(request, version), head = new TextEncoder().encode("iTXtXML:com.adobe.xmp\0\0\0\0\0");
  const chunk = new Uint8Array(8 + head.length + text.length), view = new DataView(chunk.buffer);
  view.setUint32(0, chunk.length - 12);
  chunk.set(head, 4);
  chunk.set(text, 4 + head.length);
  view.setUint32(chunk.length - 4, crc32(chunk.subarray(4, chunk.length - 4)));
  return new Blob([png.slice(0, 33), chunk, png.slice(33)], { type: "image/png" }); // behind the header
}

/** @param {Blob} jpeg @param {object} request @param {string} version */
export async function markedJpeg(jpeg, request, version) {
  const text = await packet(request, version), head = new TextEncoder().encode("http://ns.adobe.com/xap/1.0/\0");
  const size = 2 + head.length + text.length;
  const start = Uint8Array.of(0xff, 0xe1, size >> 8, size & 255);
  const first = new DataView(await jpeg.slice(0, 6).arrayBuffer());
  const at = first.getUint16(2) === 0xffe0 ? 4 + first.getUint16(4) : 2; // behind the JFIF header
  return new Blob([jpeg.slice(0, at), start, head, text, jpeg.slice(at)], { type: "image/jpeg" });
}
