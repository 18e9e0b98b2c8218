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

/** @param {IDBRequest} request @returns {Promise<any>} */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {any} draft */
export async function keepDraft(draft) { await done((await store("readwrite")).put(draft, "last")); }
export async function readDraft() { return done((await store("readonly")).get("last")); }
export async function dropDraft() { await done((await store("readwrite")).delete("last")); }
