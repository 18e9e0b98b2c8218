// The last drawing, in the browser's own storage.

const NAME = "dps-editor";

/** @returns {Promise<IDBObjectStore>} @param {IDBTransactionMode} mode */
function store(mode) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("drafts");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const transaction = opening.result.transaction("drafts", mode);
      transaction.oncomplete = () => opening.result.close();
      resolve(transaction.objectStore("drafts"));
    };
  });
}

/** Only what is committed outlives the page. @param {IDBRequest} request @returns {Promise<any>} */
function done(request) {
  return new Promise((resolve, reject) => {
    const transaction = /** @type {IDBTransaction} */ (request.transaction);
    transaction.addEventListener("complete", () => resolve(request.result));
    transaction.addEventListener("abort", () => reject(request.error || transaction.error));
  });
}

/** @param {any} draft */
export async function keepDraft(draft) { await done((await store("readwrite")).put(draft, "last")); }
export async function readDraft() { return done((await store("readonly")).get("last")); }
export async function dropDraft() { await done((await store("readwrite")).delete("last")); }
