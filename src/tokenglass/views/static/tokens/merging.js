/** Byte-pair encoding step by step: a word falls into bytes and grows together again, pair by pair. */

import { button, fill, h } from "../lib/dom.js";
import { count, integer } from "../lib/figures.js";
import { glyphs, spoken } from "../lib/glyphs.js";
import { did } from "../parts/did.js";
import { term } from "../parts/terms.js";

export class Merging {
  /** @type {any} */
  #found = null;
  #word = 0;
  #at = 0;
  #changed;
  #words = h("div.row.merge-words", { role: "group", "aria-label": "words of the text" });
  #range = h("input", { type: "range", min: 0, "aria-label": "merges done", oninput: () => this.go(Number(this.#range.value)) });
  #said = h("p.said", { "aria-live": "polite" });
  #pieces = h("div.pieces", { role: "group", "aria-label": "the pieces now" });
  #list = h("ol.merge-list");
  #stage = h("div.stack");

  /** @param {() => void} changed what its keys can do may be different now */
  constructor(changed) {
    this.#changed = changed;
    this.element = h("section.stack", { "aria-label": "merge by merge" }, h("p.note", {}, "Press a word. It falls into single bytes; then, again and again, the ",
      term("merge", "pair"), " of neighbours that stands first on the tokenizer's list is joined. What is left are the tokens."), this.#words, this.#stage);
    fill(this.#stage, h("div.timeline.panel", {}, button("◀", () => this.go(this.#at - 1), { "aria-label": "merge back" }), button("▶", () => this.go(this.#at + 1), { "aria-label": "merge on" }), this.#range),
      this.#said, this.#pieces, this.#list);
  }

  get keys() {
    const some = () => Boolean(this.#merges.length);
    return [
      { key: "ArrowLeft", label: "merge back", foot: true, run: () => this.go(this.#at - 1), when: some },
      { key: "ArrowRight", label: "merge on", foot: true, run: () => this.go(this.#at + 1), when: some },
      { key: "Home", label: "bytes", foot: true, run: () => this.go(0), when: some },
      { key: "End", label: "tokens", foot: true, run: () => this.go(this.#merges.length), when: some },
      { key: "w", label: "next word", foot: true, run: () => this.#choose((this.#word + 1) % this.#found.words.length), when: () => Boolean(this.#found?.words.length) },
    ];
  }

  /** Take what `merges` answers; the word with the longest history is shown. */
  take(found) {
    this.#found = found;
    const length = (word) => word.merges?.length ?? -1;
    this.#stage.hidden = !found.words.length;
    this.#choose(found.words.reduce((best, word, i) => (length(word) > length(found.words[best]) ? i : best), 0));
  }

  /** Show the pieces after so many merges. */
  go(/** @type {number} */ at) {
    this.#at = Math.max(0, Math.min(this.#merges.length, at));
    this.#draw();
    did({ what: "merge", at: this.#at, of: this.#merges.length });
  }

  get #merges() {
    return this.#found?.words[this.#word]?.merges ?? [];
  }

  #choose(/** @type {number} */ word) {
    this.#word = word;
    this.#at = 0;
    fill(this.#words, this.#found.words.map((each, i) => button(glyphs(each), () => this.#choose(i), { "aria-pressed": String(i === word), "aria-label": spoken(each), dataset: { key: i } })));
    if (this.#found.words.length) this.#draw();
    this.#changed();
  }

  #draw() {
    const word = this.#found.words[this.#word];
    const merges = this.#merges;
    const next = merges[this.#at];
    const last = merges[this.#at - 1];
    this.#range.max = String(merges.length);
    this.#range.value = String(this.#at);
    this.#range.setAttribute("aria-valuetext", `${this.#at} of ${merges.length} merges`);
    fill(this.#pieces, pieces(word, this.#at).map((piece, i) => h("span.piece", {
      class: next && (i === next.index || i === next.index + 1) ? "coming" : last && i === last.index ? "grown" : "",
    }, glyphs(piece))));
    fill(this.#said, this.#sentence(word, next));
    fill(this.#list, merges.map((merge, i) => h("li", { class: i < this.#at ? "" : "later" },
      button([glyphs(merge.left), " + ", glyphs(merge.right), " → ", glyphs(merge), h("span.small.soft.number", {}, this.#rank(merge))], () => this.go(i + 1), { class: "plain", "aria-current": i === this.#at - 1 ? "step" : null, dataset: { key: i } }))));
  }

  #rank(merge) {
    return this.#found.order === "place" ? `no. ${integer(merge.rank)}` : `score ${merge.rank}`;
  }

  #sentence(word, next) {
    if (word.merges === null) return "This word is itself a token and is taken at once: nothing is merged.";
    if (next) return [`${count(word.symbols.length - this.#at, "piece")}. Next on the list: `, glyphs(next.left), " + ", glyphs(next.right), ` (${this.#rank(next)}).`];
    const bytes = count(word.symbols.length, this.#found.order === "place" ? "byte" : "character");
    return `No two neighbours stand on the list any more: ${bytes} became ${count(word.ids.length, "token")} in ${count(word.merges.length, "merge")}.`;
  }
}

/** The pieces of a word after so many of its merges. */
function pieces(word, /** @type {number} */ at) {
  const row = [...word.symbols];
  for (const merge of (word.merges ?? []).slice(0, at)) row.splice(merge.index, 2, merge);
  return row;
}
