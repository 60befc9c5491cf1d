/** The frame: names the model, moves between the views, prints the keys. The views do the rest. */

import { announce } from "./lib/announce.js";
import { HttpBackend } from "./lib/backend.js";
import { button, fill, h, sheet } from "./lib/dom.js";
import { fileMenu } from "./lib/files.js";
import { keyName, listen, possible } from "./lib/keys.js";
import { SessionStore } from "./lib/store.js";

/**
 * A view is a custom element, alive from its first showing on. The frame sets `app` before it is attached.
 *
 * @typedef {HTMLElement & {app: App, keys?: import("./lib/keys.js").Binding[], show?: (args: any) => void, hide?: () => void}} View
 *
 * @typedef {{name: string, label: string, tag: string, load: () => Promise<any>}} Entry
 */

/** @type {Entry[]} a view's style sheet is NAME/view.css */
export const VIEWS = [
  { name: "explore", label: "Explore", tag: "tg-explore", load: () => import("./explore/view.js") },
  { name: "strategies", label: "Strategies", tag: "tg-strategies", load: () => import("./strategies/view.js") },
  { name: "read", label: "Read", tag: "tg-read", load: () => import("./read/view.js") },
  { name: "compare", label: "Compare", tag: "tg-compare", load: () => import("./compare/view.js") },
  { name: "tokens", label: "Tokens", tag: "tg-tokens", load: () => import("./tokens/view.js") },
  { name: "lessons", label: "Lessons", tag: "tg-lessons", load: () => import("./lessons/view.js") },
];

export class App extends HTMLElement {
  /** @type {import("./lib/backend.js").Backend} set it before attaching for another backend than the server's */
  backend = /** @type {any} */ (undefined);
  /** @type {any} what `info` answered */
  info = null;
  /** @type {SessionStore} */
  store = /** @type {any} */ (undefined);
  /** @type {Map<string, View>} */
  #views = new Map();
  /** @type {View | null} */
  #shown = null;
  #args = /** @type {any} */ (null);
  #main = h("main.view", { id: "view", tabindex: "-1" });
  #foot = h("footer.foot", { "aria-label": "keys" });

  async connectedCallback() {
    this.backend ??= new HttpBackend();
    this.store = new SessionStore(this.backend);
    this.#remembered();
    try {
      this.info = await this.backend.call("info");
    } catch (error) {
      fill(this, h("main.view", {}, h("p.error", { role: "alert" }, /** @type {Error} */ (error).message)));
      return;
    }
    fill(this, this.#frame(), this.#main, this.#foot);
    listen(document, () => [...(this.#shown?.keys ?? []), ...this.#keys]);
    addEventListener("hashchange", () => this.#route());
    await this.#route();
  }

  /**
   * Go to a view and hand it something, such as {prompt}.
   *
   * @param {string} name @param {any} [args]
   */
  go(name, args = null) {
    this.#args = args;
    if (location.hash === `#${name}`) return this.#route();
    location.hash = name;
  }

  /** Draw the foot again, after what the keys can do has changed. */
  refreshKeys() {
    const keys = [...(this.#shown?.keys ?? []), ...this.#keys].filter((binding) => binding.foot);
    fill(this.#foot, keys.map((binding) => button(
      [h("kbd", {}, keyName(binding)), binding.label],
      (event) => binding.run(/** @type {any} */ (event)),
      { "class": "plain", "data-key": binding.key, disabled: binding.key === "1-9" || !possible(binding), tabindex: -1 },
    )));
  }

  #frame() {
    const { model } = this.info;
    return h("header.frame", {},
      h("a.skip", { href: "#view", onclick: (/** @type {Event} */ event) => { event.preventDefault(); this.#main.focus(); } }, "to the content"),
      h("h1", {}, h("a", { href: "#explore" }, "tokenglass")),
      h("bdi.model", {}, `${model.name} · ${model.precision}`),
      h("nav", { "aria-label": "views" }, h("ul", {}, this.#offered().map((entry) =>
        h("li", {}, h("a", { href: `#${entry.name}` }, entry.label))))),
      h("div.row", {}, fileMenu(this),
        button("Aa", () => this.#toggleLarge(), { "aria-label": "large type", "aria-pressed": String("large" in document.documentElement.dataset), title: "large type, for a class" }),
        button("◐", () => this.#toggleTheme(), { "aria-label": "light or dark", title: "light or dark" }),
        button("?", () => this.#showKeys(), { "aria-label": "all keys", title: "all keys" })));
  }

  /** Whether there is a view to go to. @param {string} name */
  offers(name) {
    return this.#offered().some((entry) => entry.name === name);
  }

  /** Views that this backend can feed: a recording may lack whole operations. */
  #offered() {
    const needs = /** @type {Record<string, string>} */ ({ strategies: "strategies", read: "score", compare: "compare", tokens: "tokenize", lessons: "tokenize" });
    return VIEWS.filter((entry) => !needs[entry.name] || this.backend.can(needs[entry.name]));
  }

  #asked() {
    const offered = this.#offered();
    return offered.find(({ name }) => `#${name}` === location.hash) ?? offered[0];
  }

  async #route() {
    const entry = this.#asked();
    const view = this.#views.get(entry.name) ?? await this.#load(entry);
    if (entry !== this.#asked()) return; // the reader went on while this one loaded
    if (this.#shown !== view) this.#shown?.hide?.();
    for (const each of this.#views.values()) each.hidden = each !== view;
    this.#shown = view;
    for (const link of this.querySelectorAll("nav a")) {
      if (link.getAttribute("href") === `#${entry.name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `${entry.label} · tokenglass`;
    const args = this.#args;
    this.#args = null;
    view.show?.(args);
    this.refreshKeys();
  }

  /** @param {Entry} entry @returns {Promise<View>} */
  async #load(entry) {
    let view;
    try {
      await Promise.all([entry.load(), sheet(`${entry.name}/view.css`)]);
      if (this.#views.has(entry.name)) return /** @type {View} */ (this.#views.get(entry.name)); // asked for twice
      view = /** @type {View} */ (document.createElement(entry.tag));
      view.app = this;
    } catch (error) {
      view = /** @type {any} */ (h("p.error", { role: "alert" }, `this view could not be loaded: ${/** @type {Error} */ (error).message}`));
    }
    this.#views.set(entry.name, view);
    this.#main.append(view);
    return view;
  }

  /** @type {import("./lib/keys.js").Binding[]} */
  #keys = [
    { key: "?", label: "all keys", foot: true, run: () => this.#showKeys() },
    { key: "A", label: "large type", run: () => this.#toggleLarge() },
  ];

  #showKeys() {
    const keys = [...(this.#shown?.keys ?? []), ...this.#keys];
    const sheet = /** @type {HTMLDialogElement} */ (h("dialog.keysheet", { "aria-labelledby": "keys-title", onclose: () => sheet.remove() },
      h("h2", { id: "keys-title" }, "All keys"),
      h("dl", {}, keys.map((binding) => [h("dt", {}, h("kbd", {}, keyName(binding))), h("dd", {}, binding.label)])),
      button("close", () => sheet.close())));
    document.body.append(sheet);
    sheet.showModal();
  }

  #toggleLarge() {
    const root = document.documentElement;
    const large = root.toggleAttribute("data-large");
    this.querySelector("[aria-label='large type']")?.setAttribute("aria-pressed", String(large));
    announce(large ? "large type" : "ordinary type");
    remember("large", large ? "yes" : "");
  }

  #toggleTheme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember("theme", root.dataset.theme);
  }

  #remembered() {
    const root = document.documentElement;
    if (remember("large")) root.toggleAttribute("data-large", true);
    const theme = remember("theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  }
}

/** Keep a choice of the reader in this browser, or ask for it; a page without storage forgets. */
function remember(/** @type {string} */ name, /** @type {string | undefined} */ value = undefined) {
  try {
    if (value === undefined) return localStorage.getItem(`tokenglass.${name}`);
    localStorage.setItem(`tokenglass.${name}`, value);
  } catch {
    return null;
  }
  return value;
}

customElements.define("tg-app", App);
