// What is remembered: choices between visits, texts as long as the tab lives. Where the browser forbids the storage,
// everything lasts as long as the page.

const fallback = new Map();

function read(storage, key, first) {
  try {
    const text = globalThis[storage].getItem(`zhseq.${key}`);
    return text === null ? first : text;
  } catch {
    return fallback.get(key) ?? first;
  }
}

function write(storage, key, text) {
  fallback.set(key, text);
  try {
    globalThis[storage].setItem(`zhseq.${key}`, text);
  } catch {
    // full or forbidden: the page works on without
  }
}

/** Return what is remembered under a key, or the value for the first visit. */
export const recall = (key, first) => read("localStorage", key, first);

/** Remember a text under a key. */
export const remember = (key, text) => write("localStorage", key, text);

/** Return what was kept under a key in this tab, or another value. */
export const kept = (key, first) => read("sessionStorage", key, first);

/** Keep a text under a key until the tab is closed; a reload leaves it. */
export const keep = (key, text) => write("sessionStorage", key, text);
