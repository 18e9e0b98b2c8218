// Small helpers that every part of the page uses.

/** @param {string} id @returns {any} */
export const part = (id) => document.getElementById(id);
/** @param {string} query @returns {HTMLElement[]} */
export const all = (query) => [...document.querySelectorAll(query)].map((found) => /** @type {HTMLElement} */ (found));

/** @param {string} url */
export async function loadImage(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}
