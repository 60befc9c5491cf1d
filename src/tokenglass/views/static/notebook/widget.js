/** The entry of the notebook's live view: Explore in a cell, in a shadow root of its own. */

import "../explore/view.js";
import { button, fill, h, withoutSheets } from "../lib/dom.js";
import { keyName, listen, possible } from "../lib/keys.js";
import { SessionStore } from "../lib/store.js";
import { WidgetBackend } from "./backend.js";

withoutSheets();

const LATE = "the kernel is at work, and this goes on when it is free; if it was restarted, run the cell again";

/**
 * Draw a widget into a cell.
 *
 * @param {{model: any, el: HTMLElement}} cell as anywidget hands it over
 * @param {string} styles the style sheets of the page, for a shadow root
 * @returns {() => void} what to do when the cell goes
 */
export function render({ model, el }, styles) {
  const backend = new WidgetBackend(model);
  const told = h("p.error", { role: "alert", hidden: true });
  const ground = h("div.ground.cell", { tabindex: -1 });  // a click anywhere in it is enough for the keys
  el.setAttribute("data-lm-suppress-shortcuts", "true");  // JupyterLab's single keys stay out of the cell
  const root = el.shadowRoot ?? el.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [styled(styles)];
  fill(/** @type {any} */ (root), ground);
  const unfollow = followTheme(el);
  const say = (/** @type {string} */ text) => { told.textContent = text; told.hidden = !text; };
  backend.onLate = (late) => say(late ? LATE : "");
  backend.onLost = say;
  backend.onFailed = say;
  const frame = new Frame(backend, ground, told);
  frame.start().catch((error) => say(error.message));
  return () => { unfollow(); frame.close(); backend.close(); };
}

/** What views expect of the page's frame, for one view. */
class Frame {
  /** @type {any} */
  info = null;
  #ground;
  #told;
  #foot = h("footer.foot", { "aria-label": "keys" });
  #view = /** @type {any} */ (document.createElement("tg-explore"));
  #unlisten = () => {};

  /** @param {WidgetBackend} backend @param {HTMLElement} ground @param {HTMLElement} told */
  constructor(backend, ground, told) {
    this.backend = backend;
    this.store = new SessionStore(backend);
    this.#ground = ground;
    this.#told = told;
  }

  async start() {
    fill(this.#ground, this.#told);
    this.info = await this.backend.call("info");
    this.#view.app = this;
    fill(this.#ground, this.#told, h("main.view", {}, this.#view), this.#foot);
    this.#unlisten = listen(this.#ground, () => this.#view.keys ?? []);
    this.#ground.addEventListener("keydown", (event) => event.stopPropagation());
    this.refreshKeys();
  }

  close() {
    this.#unlisten();
    this.#view.remove();
  }

  go() {}

  /** A cell holds no other view. */
  offers() {
    return false;
  }

  /** Draw the foot again, after what the keys can do has changed. */
  refreshKeys() {
    const keys = (this.#view.keys ?? []).filter((/** @type {any} */ binding) => binding.foot);
    fill(this.#foot, keys.map((/** @type {import("../lib/keys.js").Binding} */ binding) => button(
      [h("kbd", {}, keyName(binding)), binding.label],
      (event) => binding.run(/** @type {any} */ (event)),
      { "class": "plain", "data-key": binding.key, disabled: binding.key === "1-9" || !possible(binding), tabindex: -1 },
    )));
  }
}

function styled(/** @type {string} */ styles) {
  const found = new CSSStyleSheet();
  found.replaceSync(styles);
  return found;
}

/** Be dark while the notebook is; returns how to end that. */
function followTheme(/** @type {HTMLElement} */ el) {
  const follow = () => { el.style.colorScheme = isDark(el) ? "dark" : "light"; };
  const asked = matchMedia("(prefers-color-scheme: dark)");
  const themes = new MutationObserver(() => requestAnimationFrame(follow));  // every notebook says so there
  for (const each of [document.documentElement, document.body]) themes.observe(each, { attributes: true });
  asked.addEventListener("change", follow);
  follow();
  return () => { themes.disconnect(); asked.removeEventListener("change", follow); };
}

/** Whether the notebook writes light on dark, whatever it calls that. */
function isDark(/** @type {HTMLElement} */ el) {
  const [red, green, blue] = (getComputedStyle(el).color.match(/[\d.]+/g) ?? []).map(Number);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 127;
}
