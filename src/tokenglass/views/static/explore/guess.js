/** Guess before you see: the table stays hidden until a token is typed, then its rank and probability are told. */

import { announce } from "../lib/announce.js";
import { button, fill, h } from "../lib/dom.js";
import { bits, count, integer, ordinal, percent, surprisal } from "../lib/figures.js";
import { glyphs, spoken } from "../lib/glyphs.js";
import { lookUp } from "./entry.js";

export class GuessGame {
  on = false;
  /** @type {number | null} id of the guess, once it is made */
  guessed = null;
  /** @type {number[]} probabilities of all guesses */
  #made = [];
  #hits = 0;
  #view;
  #input = /** @type {HTMLInputElement} */ (h("input", { type: "text", autocomplete: "off", spellcheck: "false", "aria-describedby": "guess-answer" }));
  #answer = h("div", { id: "guess-answer", "aria-live": "polite" });
  #score = h("p.note");

  /** @param {import("./view.js").Explore} view */
  constructor(view) {
    this.#view = view;
    this.element = h("div.guess.panel.stack", { hidden: true },
      h("form.row", { onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); this.#guess(); } },
        h("label.grow", {}, "your guess", this.#input), h("button.primary", { type: "submit" }, "show"),
        button("stop guessing", () => this.toggle(), { "class": "plain" })),
      this.#answer, this.#score);
  }

  get hides() {
    return this.on && this.guessed === null;
  }

  toggle() {
    this.on = !this.on;
    this.#begin();
    if (!this.on) announce("the table is shown again");
  }

  /** The text went on: hide again. */
  moved(/** @type {string} */ op) {
    if (this.on && op !== "set") this.#begin();
  }

  #begin() {
    this.guessed = null;
    this.element.hidden = !this.on;
    this.#input.value = "";
    fill(this.#answer);
    this.#view.drawTable();
    this.#view.app.refreshKeys();
    if (this.on) this.#input.focus();
    else this.#input.blur();
  }

  async #guess() {
    const text = this.#input.value;
    if (text === "") return;
    try {
      const { row } = await lookUp(this.#view.app, text);
      this.guessed = row.id;
      this.#count(row);
      this.#tell(row);
    } catch (error) {
      fill(this.#answer, h("p.error", {}, /** @type {Error} */ (error).message));
    }
  }

  #count(row) {
    this.#made.push(row.p);
    if (row.rank === 1) this.#hits++;
    const mean = this.#made.reduce((sum, p) => sum + surprisal(p), 0) / this.#made.length;
    this.#score.textContent = `${count(this.#made.length, "guess").replace("guesss", "guesses")}, ${this.#hits} times the model's first choice, ${bits(mean)} of surprise on average`;
  }

  #tell(row) {
    const best = this.#view.store.state.next.rows[0];
    const place = row.rank === 1 ? "the model's first choice" : `${ordinal(row.rank)} of ${integer(this.#view.store.state.next.vocab_size)}`;
    fill(this.#answer, h("p", {}, glyphs(row), ` is ${place}, `, h("strong", {}, percent(row.p)),
      row.rank === 1 ? "." : [". The first is ", glyphs(best), `, ${percent(best.p)}.`]),
    h("div.row", {}, button(["go on with ", glyphs(row)], () => this.#view.pick(row)), button(["go on with ", glyphs(best)], () => this.#view.pick(best))));
    announce(`${spoken(row)} is ${place}, ${percent(row.p)}`);
    this.#view.drawTable();
    this.#view.app.refreshKeys();
    /** @type {HTMLElement | null} */ (this.#answer.querySelector("button"))?.focus();
  }
}
