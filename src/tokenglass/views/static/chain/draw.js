/** The draw: all candidates side by side on the line from 0 to 1, and the number that falls on one of them. */

import { button, fill, h } from "../lib/dom.js";
import { term } from "../lib/explain.js";
import { rampOf } from "../lib/figures.js";
import { glyphs } from "../lib/glyphs.js";

const NAMED = 0.045;  // share of the line from which on a cell has room for its token
const STEP = 0.0001;

export class DrawLine {
  #panel;
  /** @type {number | null} rolled or typed by the reader; null is the number that the seed gives */
  #rolled = null;
  #line = h("div.cdf");
  #told = h("p", { "aria-live": "polite" });
  #slider = this.#input("range");
  #number = this.#input("number");
  #append = button("append what it hits", () => this.#take(), { "class": "primary" });
  #own = button("the seed's number", () => this.#roll(null));

  /** @param {import("./panel.js").ChainPanel} panel */
  constructor(panel) {
    this.#panel = panel;
    this.element = h("div.draw", { hidden: true }, h("h3", {}, term("draw", "the draw")), this.#line, this.#slider, this.#told,
      h("div.row.small", {}, h("label", {}, "u =", this.#number), button("roll the dice", () => this.#roll(Math.floor(Math.random() / STEP) * STEP)), this.#own, this.#append));
  }

  /** @param {any} next a state's own table, or null where nothing is to be drawn */
  draw(next) {
    this.#rolled = null;
    this.element.hidden = !next?.draw_preview || !next.pick || next.pick.draw === null;
    if (!this.element.hidden) this.#show();
  }

  /** @param {"range" | "number"} type */
  #input(type) {
    const found = /** @type {HTMLInputElement} */ (h("input", { type, min: 0, max: 1 - STEP, step: type === "range" ? STEP : "any", "aria-label": "u, the number that is drawn, from 0 to 1" }));
    found.addEventListener("input", () => {
      const u = Number(found.value);
      if (found.value !== "" && u >= 0 && u < 1) this.#roll(u, found);
    });
    return found;
  }

  #roll(/** @type {number | null} */ u, /** @type {HTMLInputElement | null} */ from = null) {
    this.#rolled = u;
    this.#show(from);
  }

  #show(/** @type {HTMLInputElement | null} */ from = null) {
    const { next } = this.#panel.store.state;
    const u = this.#rolled ?? next.pick.draw;
    const cell = next.draw_preview.find((each) => u >= each.start && u < each.end);
    for (const input of [this.#slider, this.#number]) if (input !== from) input.value = String(Number(u.toFixed(6)));
    fill(this.#line, next.draw_preview.map((each) => cellOf(each, each === cell)), h("i.pointer", { style: { "--p": u } }));
    const whose = this.#rolled === null ? "the seed gives" : "you rolled";
    fill(this.#told, `${whose} u = ${u.toFixed(4)}: `, cell
      ? [glyphs(cell), h("span.soft", {}, ` holds ${cell.start.toFixed(4)} to ${cell.end.toFixed(4)}`)]
      : h("span.soft", {}, "one of the narrow cells that are not drawn here"));
    this.#own.disabled = this.#rolled === null;
  }

  #take() {
    const { store } = this.#panel;
    return store.act("step", this.#rolled === null ? {} : { u: this.#rolled });
  }
}

/** @param {any} cell @param {boolean} hit */
function cellOf(cell, hit) {
  const width = cell.end - cell.start;
  return h("span.cell.shaded", {
    class: hit ? "hit" : "", "data-ramp": rampOf(width), title: `${cell.token}: ${cell.start.toFixed(4)} to ${cell.end.toFixed(4)}`,
    style: { "--from": cell.start, "--p": width },
  }, width >= NAMED ? glyphs(cell.token) : null);
}
