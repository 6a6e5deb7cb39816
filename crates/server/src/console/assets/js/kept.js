// What the browser remembers between visits. Storage may be switched off or full: then nothing is remembered and all else works.

const PREFIX = "bilin.";

/** The kept text, or null. */
export function kept(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/** Keeps a text; null forgets it. */
export function keep(key, text) {
  try {
    if (text === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, text);
  } catch {
    // see above
  }
}

/** The kept value, or `otherwise` when there is none or it cannot be read. */
export function keptValue(key, otherwise) {
  try {
    return JSON.parse(kept(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Keeps a value. */
export const keepValue = (key, value) => keep(key, JSON.stringify(value));
