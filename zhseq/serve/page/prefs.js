// What is remembered between visits. Where the browser forbids the storage, it lasts as long as the page.

const fallback = new Map();

/** Return what is remembered under a key, or the value for the first visit. */
export function recall(key, first) {
  try {
    const text = localStorage.getItem(`zhseq.${key}`);
    return text === null ? first : text;
  } catch {
    return fallback.get(key) ?? first;
  }
}

/** Remember a text under a key. */
export function remember(key, text) {
  fallback.set(key, text);
  try {
    localStorage.setItem(`zhseq.${key}`, text);
  } catch {
    // full or forbidden: the page works on without
  }
}
