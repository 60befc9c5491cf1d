/** The sampling keywords as controls: the few that matter most as sliders, all others found by a word. */

import { button, fill, focused, h } from "../lib/dom.js";
import { EXPLANATIONS, term } from "../lib/explain.js";

/** @typedef {{name: string, kind: string, group: string, interval: string, about: string, default: any, defaults: Record<string, any>, when: string, paper: string}} Keyword */

// name: [least, most, step, sense of the ends]
const SLIDERS = /** @type {Record<string, [number, number, number]>} */ ({
  temperature: [0.05, 2, 0.05],
  top_k: [0, 200, 1],
  top_p: [0.01, 1, 0.01],
  min_p: [0, 0.5, 0.01],
  repetition_penalty: [1, 2, 0.05],
});
// a session writes one text: what belongs to searches has its place in Strategies
const ELSEWHERE = new Set(["beams", "groups", "forced", "contrastive", "dola", "assisted", "lookup"]);
const NOT_HERE = new Set(["do_sample", "preset", "order", "max_time", "token_healing", "num_return_sequences", "num_beams", "penalty_alpha", "dola_layers", "prompt_lookup_num_tokens", "num_beam_groups", "force_words_ids"]);

export class Controls {
  #panel;
  /** @type {Map<string, {row: HTMLElement, show: (state: any) => void, error: HTMLElement}>} */
  #rows = new Map();
  #main = h("div.stack.sliders");
  #search = /** @type {HTMLInputElement} */ (h("input", { type: "search", placeholder: "penalty, stop, seed …", "aria-label": "find a keyword" }));
  #found = h("div.stack.found");
  #reset = button("all as at first", () => this.#clear(), { "class": "small" });
  #idle = h("p.note", {}, "Taking the best leaves nothing to chance: only penalties act. Moving one of the others turns drawing on.");
  #built = false;

  /** @param {import("./panel.js").ChainPanel} panel */
  constructor(panel) {
    this.#panel = panel;
    this.#search.addEventListener("input", () => this.#find());
    this.element = h("div.controls.stack", {}, this.#idle, this.#main,
      h("details.more", { ontoggle: () => this.#find() }, h("summary", {}, "every other keyword"), h("div.stack", {}, this.#search, this.#found)), h("div.row", {}, this.#reset));
  }

  /** Say what is wrong with a value, beside its control. */
  problem(/** @type {string} */ name, /** @type {string} */ message) {
    const found = this.#rows.get(name) ?? [...this.#rows.values()][0];
    if (!found) return;
    found.error.textContent = message;
    found.error.hidden = false;
  }

  draw(state) {
    if (!this.#built) this.#build();
    for (const { show, error } of this.#rows.values()) {
      show(state);
      error.hidden = true;
    }
    this.#idle.hidden = state.chain.mode === "sample";
    this.#reset.disabled = Object.keys(state.config.given).length === 0;
    if (!this.#search.value) this.#find();
  }

  #build() {
    this.#built = true;
    for (const name of Object.keys(SLIDERS)) {
      const keyword = this.#keywords.find((each) => each.name === name);
      if (keyword) this.#main.append(this.#row(keyword));
    }
  }

  /** @type {Keyword[]} */
  get #keywords() {
    return this.#panel.app.info.keywords.filter((/** @type {Keyword} */ each) => !NOT_HERE.has(each.name) && !ELSEWHERE.has(each.when));
  }

  #clear() {
    const { given } = this.#panel.store.state.config;
    this.#panel.before = this.#panel.store.state.next;
    this.#panel.store.configure(given.do_sample === undefined ? {} : { do_sample: given.do_sample });
  }

  /** Keywords whose name or purpose holds the word; without a word those that were set. */
  #find() {
    const word = this.#search.value.trim().toLowerCase();
    const { given } = this.#panel.store.state.config;
    const wanted = this.#keywords.filter(({ name, about, group }) => !(name in SLIDERS) && (word ? `${name} ${about} ${group}`.toLowerCase().includes(word) : true));
    const sorted = [...wanted].sort((a, b) => Number(b.name in given) - Number(a.name in given));
    const rows = sorted.map((keyword) => this.#rows.get(keyword.name)?.row ?? this.#row(keyword));
    if (rows.some((row, index) => this.#found.children[index] !== row) || rows.length !== this.#found.children.length) {
      fill(this.#found, rows.length ? rows : h("p.note", {}, "no keyword has that word"));
    }
  }

  /** @param {Keyword} keyword */
  #row(keyword) {
    const error = h("p.error", { role: "alert", hidden: true });
    const set = (value) => this.#panel.set(keyword.name, value);
    const editor = editorOf(keyword, set);
    const back = button("↺", () => set(undefined), { "class": "plain", "aria-label": `${keyword.name} back to its default`, title: "back to the default" });
    const idle = h("span.note", { hidden: true }, "no effect here");
    const sampled = keyword.name in SLIDERS && keyword.group !== "penalties";
    const label = EXPLANATIONS[keyword.name] ? term(keyword.name, keyword.name) : h("span", { title: keyword.about }, keyword.name);
    const row = h("div.control", { "data-keyword": keyword.name },
      h("div.head", {}, h("span.label", {}, label, " ", idle), back), editor.element,
      keyword.name in SLIDERS ? null : h("p.note", {}, `${keyword.about} (${keyword.interval})`), error);
    const show = (state) => {
      const { given, effective, no_effect: without } = state.config;
      const value = keyword.name in given ? given[keyword.name] : effective[keyword.name] ?? keyword.defaults[state.chain.preset] ?? keyword.default;
      editor.show(value);
      back.disabled = !(keyword.name in given);
      idle.hidden = !without.includes(keyword.name);
      row.classList.toggle("idle", !idle.hidden || (sampled && state.chain.mode !== "sample"));
    };
    this.#rows.set(keyword.name, { row, show, error });
    show(this.#panel.store.state);
    return row;
  }
}

/**
 * The field for a value of a kind.
 *
 * @param {Keyword} keyword @param {(value: any) => void} set
 * @returns {{element: HTMLElement, show: (value: any) => void}}
 */
function editorOf(keyword, set) {
  if (keyword.name in SLIDERS) return slider(keyword.name, set);
  if (keyword.kind === "flag") return checkbox(keyword.name, set);
  if (keyword.kind === "whole" || keyword.kind === "number") return field(keyword, set, (text) => Number(text), "number");
  if (keyword.kind === "text") return field(keyword, set, (text) => text, "text");
  if (keyword.kind === "texts") return field(keyword, set, (text) => (text.startsWith("[") ? parsed(text) : [text]), "text", 'one text, or ["several", "texts"]');
  return field(keyword, set, parsed, "text", "as JSON");
}

/** @param {string} name @param {(value: any) => void} set */
function slider(name, set) {
  const [min, max, step] = SLIDERS[name];
  const range = /** @type {HTMLInputElement} */ (h("input", { type: "range", min, max, step, "aria-label": name }));
  const number = /** @type {HTMLInputElement} */ (h("input.short", { type: "number", step: "any", placeholder: "off", "aria-label": `${name}, exact value` }));
  range.addEventListener("input", () => { number.value = range.value; set(Number(range.value)); });
  number.addEventListener("change", () => set(number.value === "" ? undefined : Number(number.value)));
  return {
    element: h("div.pair", {}, range, number),
    show: (value) => {
      if (focused() !== range) range.value = String(value ?? (name === "min_p" ? min : max));
      if (focused() !== number) number.value = value === null || value === undefined ? "" : String(value);
    },
  };
}

/** @param {string} name @param {(value: any) => void} set */
function checkbox(name, set) {
  const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", "aria-label": name }));
  box.addEventListener("change", () => set(box.checked));
  return { element: box, show: (value) => { box.checked = Boolean(value); } };
}

/** @param {Keyword} keyword @param {(value: any) => void} set @param {(text: string) => any} read @param {string} type @param {string} [hint] */
function field(keyword, set, read, type, hint = "") {
  const input = /** @type {HTMLInputElement} */ (h("input", { type, step: type === "number" ? "any" : null, placeholder: hint || null, "aria-label": keyword.name }));
  input.addEventListener("change", () => set(input.value === "" ? undefined : read(input.value)));
  return {
    element: input,
    show: (value) => {
      if (focused() === input) return;
      input.value = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    },
  };
}

/** JSON, or the text itself where it is none: the server then says what it wants. */
function parsed(/** @type {string} */ text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
