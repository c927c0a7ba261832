// Elements by function calls. Text goes in as text nodes only, so nothing that a server says can become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** An HTML element: h("a", {href: "?view=jobs", onclick: f}, "Jobs"). */
export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

/** An SVG element. */
export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

/** Replace what a container shows; focus, opened details and scroll positions stay with the elements of the same data-key. */
export function show(container, ...children) {
  const keyed = (root) => new Map([...root.querySelectorAll("[data-key]")].map((element) => [element.dataset.key, element]));
  const focused = container.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const before = [...keyed(container)].map(([key, element]) => [key, element.open, element.scrollLeft, element.scrollTop]);
  container.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  const now = keyed(container);
  for (const [key, open, left, top] of before) {
    const element = now.get(key);
    if (!element) continue;
    if (open !== undefined) element.open = open;
    if (left) element.scrollLeft = left;
    if (top) element.scrollTop = top;
  }
  if (focused) now.get(focused)?.focus({ preventScroll: true });
}
