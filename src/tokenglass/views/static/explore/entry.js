/** A token of the reader's own: looked up among all of the vocabulary, or appended. */

import { button, fill, h } from "../lib/dom.js";
import { integer, percent } from "../lib/figures.js";
import { glyphs } from "../lib/glyphs.js";
import { latest } from "../lib/latest.js";
import { table } from "../lib/table.js";

/** @typedef {"look" | "type"} Mode */

export class TokenEntry {
  #view;
  /** @type {Mode} */
  #mode = "look";
  #input = /** @type {HTMLInputElement} */ (h("input", { type: "text", autocomplete: "off", spellcheck: "false", "aria-describedby": "entry-answer" }));
  #space = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox" }));
  #label = h("label.grow", {}, h("span"), this.#input);
  #answer = h("div.answer", { id: "entry-answer", "aria-live": "polite" });
  #submit = button("", () => this.#run(), { "class": "primary" });

  /** @param {import("./view.js").Explore} view */
  constructor(view) {
    this.#view = view;
    this.#input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#run();
      else if (event.key === "Escape") this.close();
      else return;
      event.preventDefault();
    });
    this.#input.addEventListener("input", () => this.#look());
    this.#space.addEventListener("change", () => this.#look());
    this.element = h("div.entry.panel", { hidden: true }, h("div.row", {}, this.#label,
      h("label.small", { title: "most words of a running text begin with a space" }, this.#space, "with a space before"),
      this.#submit, button("close", () => this.close(), { "class": "plain" })), this.#answer);
  }

  ask(/** @type {Mode} */ mode) {
    this.#mode = mode;
    const typing = mode === "type";
    /** @type {HTMLElement} */ (this.#label.firstChild).textContent = typing ? "append" : "look up";
    this.#submit.textContent = typing ? "append" : "look up";
    this.#space.checked = !/\s$/.test(this.#view.store.state.text);
    this.element.hidden = false;
    this.#input.focus();
    this.#input.select();
    this.#look();
  }

  close() {
    this.#input.blur();  // what is hidden keeps the focus, and the next key with it, until the page is drawn again
    this.element.hidden = true;
    fill(this.#answer);
  }

  /** The session went on: what was looked up is another number now. */
  moved() {
    if (!this.element.hidden) this.#look();
  }

  get #text() {
    const { value } = this.#input;
    return this.#space.checked && value !== "" ? ` ${value}` : value;
  }

  async #run() {
    if (this.#mode === "look" || this.#text === "") return this.#look();
    const place = await this.#view.back();
    if (place && await this.#view.store.act("step", { token: this.#text })) this.#input.value = "";
    fill(this.#answer);
  }

  #look = latest(async () => {
    const token = this.#text;
    if (token === "") return void fill(this.#answer);
    const { app, store, place } = this.#view;
    try {
      const { id, tokens } = await cut(app.backend, token);
      const found = id === null ? null : await store.ask("lookup", { token: id, ...(place ? { position: place.index - 1 } : {}) });
      if (token === this.#text) fill(this.#answer, found ? account(found) : several(tokens));
    } catch (error) {
      fill(this.#answer, h("p.note", {}, /** @type {Error} */ (error).message));
    }
  }, 80);
}

/** What a longer text is cut into. */
function several(/** @type {any[]} */ tokens) {
  return h("p.note", {}, `${tokens.length} tokens: `, tokens.map((token) => [glyphs(token), " "]));
}

/**
 * The token that a text is, or the tokens that it is cut into; a backend that cannot cut looks texts up itself.
 *
 * @param {import("../lib/backend.js").Backend} backend @param {string} text
 * @returns {Promise<{id: number | string | null, tokens: any[]}>}
 */
export async function cut(backend, text) {
  if (!backend.can("tokenize")) return { id: text, tokens: [] };
  const { tokens } = await backend.call("tokenize", { text, add_special_tokens: false });
  return { id: tokens.length === 1 ? tokens[0].id : null, tokens };
}

/** One token's way through the chain, in a sentence and a small table. */
export function account({ row, account: way }) {
  const effects = way.effects.map((effect) => ({
    stage: effect.stage,
    rank: effect.rank === null ? "–" : integer(effect.rank),
    p: percent(effect.p),
    class: effect.rank === null ? "removed" : "",
  }));
  return [
    h("p", {}, glyphs(row), ` is ${integer(row.rank)}${row.rank === 1 ? ", the likeliest" : ` of all by the model`}: `, h("strong", {}, percent(row.p)), h("span.soft", {}, ` · id ${row.id}`)),
    effects.length > 1 ? [h("p.note", {}, way.fate), table({
      caption: "its way through the chain",
      columns: [{ name: "stage", label: "after" }, { name: "rank", label: "rank", align: "number" }, { name: "p", label: "probability", align: "number" }],
      rows: effects,
    })] : null,
  ];
}

/** Ask about a text with and without a space before it, and take the likelier token of the two. */
export async function lookUp(/** @type {import("../app.js").App} */ { backend, store }, /** @type {string} */ text) {
  const asked = await Promise.all((text.startsWith(" ") ? [text] : [` ${text}`, text]).map((each) => cut(backend, each)));
  const known = asked.filter(({ id }) => id !== null);
  if (!known.length) throw new Error(`that is ${asked[0].tokens.length} tokens: ${asked[0].tokens.map((each) => each.token).join(" ")}; guess one`);
  const found = await Promise.all(known.map(({ id }) => store.ask("lookup", { token: id })));
  return found.sort((a, b) => a.row.rank - b.row.rank)[0];
}
