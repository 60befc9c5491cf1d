/** The experiment "change one word": several words in one place, the one that changes most first. */

import { button, fill, h } from "../lib/dom.js";
import { percent } from "../lib/figures.js";
import { glyphs } from "../lib/glyphs.js";
import { table } from "../lib/table.js";
import { textField } from "../parts/fields.js";
import { typed } from "../parts/prose.js";
import { promptEnd } from "./result.js";
import { term } from "../parts/terms.js";

const MOST = 8;

export class WordSwap {
  #at = -1;
  #text = textField("prompt", "", { oninput: () => this.#drawWords() });
  #words = h("div.row.swap-words", { role: "group", "aria-label": "press the word to change" });
  #others = h("input", { type: "text", "aria-label": "words to put in its place, with commas between", value: "Italy, Japan, nowhere" });
  #table = h("div.scroll");
  #ask;
  #show;

  /**
   * @param {(prompt: string, changed: string, signal: AbortSignal) => Promise<any>} ask for a Comparison row
   * @param {(row: any) => void} show one of them in full
   */
  constructor(ask, show) {
    this.#ask = ask;
    this.#show = show;
  }

  element(/** @type {string} */ prompt) {
    this.#text.value = prompt;
    this.#at = -1;
    this.#drawWords();
    return h("div.swap", {}, this.#text, this.#words, h("label", {}, h("span.small.soft", {}, "instead of it"), this.#others), this.#table);
  }

  /** Words with what stands between them; a word is what has no white space or punctuation in it. */
  #pieces() {
    return this.#text.value.split(/([\p{L}\p{N}'’-]+)/u);
  }

  #drawWords() {
    const pieces = this.#pieces();
    const words = pieces.map((piece, index) => ({ piece, index })).filter(({ index }) => index % 2 === 1);
    if (pieces[this.#at] === undefined || this.#at % 2 === 0) this.#at = (words.find(({ piece }) => piece === "France") ?? words.at(-1))?.index ?? -1;
    fill(this.#words, words.map(({ piece, index }) => button(h("bdi", {}, typed(piece)), () => { this.#at = index; this.#drawWords(); }, { "aria-pressed": String(index === this.#at), dataset: { key: index } })));
  }

  async run(/** @type {AbortSignal} */ signal) {
    const prompt = this.#text.value;
    const pieces = this.#pieces();
    const others = this.#others.value.split(",").map((each) => each.trim()).filter((each, i, all) => each && each !== pieces[this.#at] && all.indexOf(each) === i).slice(0, MOST);
    if (this.#at < 0 || !others.length) throw new Error("choose a word of the prompt and type at least one other word to put in its place");
    /** @type {{other: string, row: any, end: any}[]} */
    const found = [];
    for (const other of others) {
      const row = await this.#ask(prompt, pieces.with(this.#at, other).join(""), signal);
      found.push({ other, row, end: promptEnd(row) });
      found.sort((a, b) => b.end.tv - a.end.tv);
      this.#draw(pieces[this.#at], found);
    }
    this.#show(found[0].row);
  }

  /** @param {string} word @param {{other: string, row: any, end: any}[]} found */
  #draw(word, found) {
    const first = found[0].end.top_a;
    const columns = [
      { name: "word", label: "the word", heads: true }, { name: "next", label: "then most likely" },
      { name: "p", label: term("p", "probability"), align: "number" },
      { name: "tv", label: term("tv", "moved"), align: "number" }, { name: "more", label: h("span.unseen", {}, "look") },
    ];
    fill(this.#table, table({ caption: "what each word does to the next token", columns, rows: [
      { word: [h("bdi", {}, typed(word)), h("span.note", {}, " as it was")], next: glyphs(first), p: percent(first.p_a), tv: "–" },
      ...found.map(({ other, row, end }) => ({
        word: h("bdi", {}, typed(other)), next: glyphs(end.top_b), p: percent(end.top_b.p_b), tv: percent(end.tv),
        more: button("look", () => this.#show(row), { class: "plain small", "aria-label": `look at ${other} in full` }),
      })),
    ] }));
  }
}
