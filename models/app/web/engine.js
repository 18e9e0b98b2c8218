// What the editor asks of whoever paints: `dps app` by fetch (here), or networks in the tab itself.

/** @typedef {"mask"|"sketch"} Role */
/** @typedef {[number, number, number]} Square left, top and side, px of the photo */
/** @typedef {{id: string, url: string, notes?: string[]}} LayerFile white = hole or line, at the photo's size */
/**
 * @typedef {object} Opened
 * @property {string} photo URL of the picture to show
 * @property {number} width px of the photo
 * @property {number} height px of the photo
 * @property {Square} box proposed face square
 * @property {string} stem
 * @property {number} level
 * @property {boolean} exact
 * @property {boolean} marked
 * @property {string[]} notes
 * @property {Partial<Record<Role, LayerFile>>} layers
 * @property {string} [file] content of the photo, base64, where the engine brought it
 * @property {string} [name]
 */
/** @typedef {{level: number|null, url: string, box: number[], notes: string[]}} Patch box: left, top, width, height */
/** @typedef {{name: string, hasLevel: boolean, limits: string[]}} Method */
/**
 * @typedef {object} Engine
 * @property {() => Promise<{state: "loading"|"ready"|"missing", message?: string, methods?: Method[], help?: string[]}>} status
 * @property {(file: Blob, name: string) => Promise<Opened>} openPhoto
 * @property {() => Promise<Opened>} openSample
 * @property {(files: File[]) => Promise<Opened>} openEdit
 * @property {(role: Role, file: Blob, name: string) => Promise<LayerFile>} addLayer
 * @property {(drawing: string) => Promise<LayerFile>} ownLines
 * @property {(x: number, y: number) => Promise<{box: Square}>} pickFace
 * @property {(drawing: string, level: number, method: string, exact: boolean) => Promise<Patch>} run
 * @property {(kind: string, drawing: string, level: number, method: string, exact: boolean, marked: boolean) => Promise<{name: string, data: Blob}>} save
 */

/** The engine no longer has the photo: it is to be opened again. */
export class GoneError extends Error {}
/** The engine does not answer. */
export class SilentError extends Error {}

/** @implements {Engine} */
export class ServerEngine {
  constructor() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    this.tab = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  /** @param {string} path @param {BodyInit|null} body @param {string} [method] @returns {Promise<Response>} */
  async ask(path, body = null, method = "POST") {
    let response;
    try {
      response = await fetch(`api/${path}`, { method, body, headers: { "X-Dps-Tab": this.tab } });
    } catch {
      throw new SilentError("The server does not answer. Your drawing is kept here; start dps app again.");
    }
    if (response.ok) return response;
    const told = await response.json().catch(() => ({ error: `The server failed (${response.status}).` }));
    throw response.status === 409 ? new GoneError(told.error) : new Error(told.error);
  }

  /** @param {string} path @param {BodyInit|null} [body] @param {string} [method] */
  async read(path, body = null, method = "POST") {
    return (await this.ask(path, body, method)).json();
  }

  status() { return this.read("status", null, "GET"); }
  openPhoto(file, name) { return this.read(`photo?name=${encodeURIComponent(name)}`, file); }
  openSample() { return this.read("sample"); }
  async openEdit(files) {
    if (files.length === 1) return this.read(`edit?name=${encodeURIComponent(files[0].name)}`, files[0]);
    const packed = await Promise.all(files.map(async (file) => ({ name: file.name, data: await toBase64(file) })));
    return this.read("edit", JSON.stringify({ files: packed }));
  }
  addLayer(role, file, name) { return this.read(`layer?role=${role}&name=${encodeURIComponent(name)}`, file); }
  ownLines(drawing) { return this.read("lines", drawing); }
  pickFace(x, y) { return this.read("face", JSON.stringify({ x, y })); }
  run(drawing, level, method, exact) { return this.read("run", JSON.stringify({ drawing, level, method, exact })); }
  async save(kind, drawing, level, method, exact, marked) {
    const response = await this.ask("save", JSON.stringify({ kind, drawing, level, method, exact, marked }));
    return { name: response.headers.get("X-Dps-Name") || kind, data: await response.blob() };
  }
}

/** @param {Blob} file @returns {Promise<string>} */
async function toBase64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

/** @param {string} text base64 @returns {Blob} */
export function fromBase64(text) {
  return new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]);
}
