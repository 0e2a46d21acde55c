// Small helpers around the document. Texts are only ever set as text, never as markup.

/** Return the element with this id. */
export const $ = (id) => document.getElementById(id);

/** Make an element: properties are set, `data-`, `aria-`, `role`, `lang` and `for` become attributes, the rest children. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.includes("-") || key === "role" || key === "lang" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

/** Offer a file for download. */
export function download(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Put a text into the clipboard, also where the page does not come over a secure connection. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { value: text, className: "sr-only" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** Make a button say for a moment that it has done its work. */
export function confirmOn(button, text) {
  const before = button.textContent;
  button.textContent = text;
  setTimeout(() => {
    if (button.textContent === text) button.textContent = before;
  }, 1500);
}
