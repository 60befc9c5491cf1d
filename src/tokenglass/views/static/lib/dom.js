/** Elements built from data. Text becomes text nodes: nothing on the page turns a string into markup. */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined | false | any[]} Child */

/**
 * An HTML element.
 *
 * @param {string} tag name, optionally with classes: "p.note.soft"
 * @param {Record<string, any>} [props] attributes; `onclick` and the like take functions; `style` an object of
 *   properties and custom properties; `dataset` an object; `true` sets an empty attribute, null, undefined and
 *   false set none (write aria-pressed and the like as strings)
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return /** @type {HTMLElement} */ (furnish(document.createElement(name), classes, props, children));
}

/**
 * An SVG element, as `h`.
 *
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function svg(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return /** @type {SVGElement} */ (furnish(document.createElementNS(SVG, name), classes, props, children));
}

/**
 * Put children in place of an element's. What had the focus keeps it, found again by `data-key` or text.
 *
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  const at = focused();
  const held = /** @type {HTMLElement | null} */ (element.contains(at) ? at : null);
  element.replaceChildren(...nodes(children));
  if (held && held !== element) {
    const candidates = /** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll("button, input, select, a, [tabindex]"));
    const again = [...candidates].find((each) => (each.dataset.key ?? each.textContent) === (held.dataset.key ?? held.textContent));
    const beside = again?.matches(":disabled") ? again.parentElement?.querySelector(":enabled") : again;
    /** @type {HTMLElement | null | undefined} */ (beside)?.focus();
  }
  return element;
}

let bundled = false;

/** All style sheets are there already: `sheet` adds none from now on. */
export function withoutSheets() {
  bundled = true;
}

/** The element that has the focus, also inside a shadow root. */
export function focused() {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return at;
}

/** Where boxes over the page belong: its body, or the notebook's cell that has the focus. */
export function layer() {
  const root = focused()?.getRootNode();
  return root instanceof ShadowRoot ? root : document.body;
}

/**
 * The style sheet of a view, added once; nothing where a bundle holds all.
 *
 * @param {string} path from index.html, such as "explore/view.css"
 * @returns {Promise<void>} when it is in force
 */
export function sheet(path) {
  if (bundled) return Promise.resolve();
  if (document.querySelector(`style[data-bundle], link[href="${path}"]`)) return Promise.resolve();
  return new Promise((resolve) => {
    document.head.append(h("link", { rel: "stylesheet", href: path, onload: () => resolve(), onerror: () => resolve() }));
  });
}

/**
 * A button.
 *
 * @param {Child} label
 * @param {(event: Event) => void} onclick
 * @param {Record<string, any>} [props]
 */
export function button(label, onclick, props = {}) {
  return /** @type {HTMLButtonElement} */ (h("button", { type: "button", onclick, ...props }, label));
}

/**
 * @param {Element} element
 * @param {string[]} classes
 * @param {Record<string, any>} props
 * @param {Child[]} children
 */
function furnish(element, classes, props, children) {
  if (classes.length) element.classList.add(...classes);
  for (const [name, value] of Object.entries(props)) set(/** @type {any} */ (element), name, value);
  element.append(...nodes(children));
  return element;
}

/** @param {any} element @param {string} name @param {any} value */
function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "class") element.classList.add(...String(value).split(" ").filter(Boolean));
  else if (name === "style") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, String(v));
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
  else if (name.startsWith("on")) {
    if (typeof value !== "function") throw new TypeError(`${name} takes a function`);
    element.addEventListener(name.slice(2), value);
  } else element.setAttribute(name, value === true ? "" : String(value));
}

/** @param {Child[]} children @returns {(Node | string)[]} */
function nodes(children) {
  return /** @type {any[]} */ (children.flat(Infinity))
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}
