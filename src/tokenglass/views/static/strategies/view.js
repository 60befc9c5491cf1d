/** One prompt under several strategies at once, and any search of them as a film. */

import { announce } from "../lib/announce.js";
import { button, fill, h, sheet } from "../lib/dom.js";
import { count, percent, significant } from "../lib/figures.js";
import { spoken } from "../lib/glyphs.js";
import { choices, numberField, textField } from "../parts/fields.js";
import { parted, word } from "../parts/prose.js";
import { Run } from "../parts/run.js";
import { keywords } from "./keywords.js";
import "../film/film.js";

const FIRST = ["greedy", "temperature", "top_p", "beam_search", "contrastive"];
const SEARCHES = new Set(["beam_search", "beam_sample", "diverse_beams", "contrastive", "dola", "prompt_lookup"]);
const LENGTH = 24;
const SEED = 7;

/**
 * @typedef {object} Written what a strategy has written so far
 * @property {any[]} tokens steps, or what the stream said of them
 * @property {string} best display text of the best so far of a search that may still change its mind
 * @property {any} row how it ended
 */

export class Strategies extends HTMLElement {
  /** @type {any} */
  app = null;
  #names = new Set(FIRST);
  /** @type {Map<string, Written>} */
  #written = new Map();
  #mode = "columns";
  #run = new Run({ go: "write" }, (signal) => this.#work(signal), () => this.app.refreshKeys());
  #prompt = textField("prompt", "", { run: () => this.#go() });
  #length = numberField("tokens", LENGTH, { min: 1, max: 200 });
  #seed = numberField("seed", SEED, { min: 0 });
  #columns = h("div.racers", { role: "group", "aria-label": "what each strategy writes" });
  #film = document.createElement("tg-film");
  #tabs = h("div");
  #settings = h("details.which");

  get keys() {
    const own = [
      { key: "r", label: this.#run.busy ? "stop" : "write again", foot: true, run: () => this.#run.toggle(), when: () => this.#mode === "columns" },
      { key: "f", label: this.#mode === "film" ? "side by side" : "the film", foot: true, run: () => this.#turn(this.#mode === "film" ? "columns" : "film") },
    ];
    return this.#mode === "film" ? [...this.#film.keys, own[1]] : own;
  }

  /** @param {{prompt?: string, film?: boolean} | null} args */
  show(args) {
    const fresh = !this.firstChild;
    if (fresh) this.#build();
    if (args?.prompt !== undefined) this.#prompt.value = args.prompt;
    if (args?.film) this.#turn("film");
    if (this.#mode === "columns" && (fresh || args?.prompt !== undefined)) this.#go();
  }

  #build() {
    sheet("parts/parts.css");
    sheet("film/film.css");
    this.#prompt.value = this.app.store.state?.text ?? this.app.info.default_prompt;
    this.#film.app = this.app;
    this.#film.prompt = () => this.#prompt.value;
    this.#drawChoice();
    fill(this, h("h2.unseen", {}, "Strategies"),
      h("div.form", {},
        h("p.lead", {}, "The model is the same in every column. What differs is how the next token is chosen from its table."),
        this.#prompt,
        h("div.row", {}, this.#tabs, h("div.row.columns-only", {}, this.#length.label, this.#seed.label, this.#run.button, this.#run.status)),
        this.#settings, this.#run.error),
      this.#columns, this.#film);
    this.#turn("columns");
  }

  /** Which strategies: closed it names them, open it has a box for each with its keywords. */
  #drawChoice() {
    const summary = h("summary", {});
    const name = () => fill(summary, `${count(this.#names.size, "strategy").replace("strategys", "strategies")}: `, h("span.soft", {}, [...this.#names].join(", ")));
    const boxes = this.app.info.strategies.map((each) => h("label.box", {},
      h("input", {
        type: "checkbox", checked: this.#names.has(each.name), disabled: each.name === "greedy",
        onchange: (event) => {
          if (event.target.checked) this.#names.add(each.name);
          else this.#names.delete(each.name);
          name();
        },
      }),
      h("span", {}, each.name, h("small.mono.soft", {}, keywords(each.keywords)))));
    name();
    fill(this.#settings, summary, h("div.boxes", {}, boxes));
  }

  #turn(/** @type {string} */ mode) {
    this.#mode = mode;
    this.dataset.mode = mode;
    fill(this.#tabs, choices("how to look at it", [{ value: "columns", label: "side by side" }, { value: "film", label: "a search as a film" }], mode, (value) => this.#turn(value)));
    this.#columns.hidden = this.#settings.hidden = mode !== "columns";
    this.#film.hidden = mode !== "film";
    if (mode === "film") this.#film.shown();
    this.app.refreshKeys();
  }

  #go() {
    this.#run.start();
    this.app.refreshKeys();
  }

  async #work(/** @type {AbortSignal} */ signal) {
    const known = this.app.info.strategies.map((each) => each.name);
    const names = known.filter((name) => this.#names.has(name) || name === "greedy");
    this.#written = new Map(names.map((name) => [name, { tokens: [], best: "", row: null }]));
    this.#draw();
    const started = performance.now();
    const config = { max_new_tokens: Number(this.#length.input.value), seed: Number(this.#seed.input.value) };
    const done = await this.app.backend.stream("strategies", { prompt: this.#prompt.value, names, config }, { signal, onItem: (item) => this.#take(item) });
    for (const row of done.strategies) {
      const found = this.#written.get(row.name);
      if (!found) continue;
      found.row = row;
      if (row.generation) found.tokens = row.generation.sequences[0].steps;
    }
    this.#draw();
    this.#run.say(`${significant((performance.now() - started) / 1000)} s`);
    const apart = done.strategies.filter((row) => row.parting).length;
    announce(`${names.length} texts written; ${apart} part from greedy's`);
  }

  #take(item) {
    const found = this.#written.get(item.strategy);
    if (!found) return;
    if (item.token) found.tokens.push(item.token);
    else found.best = item.best;
    this.#drawText(item.strategy);
  }

  #draw() {
    fill(this.#columns, [...this.#written].map(([name, found]) => this.#column(name, found)));
    for (const name of this.#written.keys()) this.#drawText(name);
  }

  #column(/** @type {string} */ name, /** @type {Written} */ { row }) {
    const given = this.app.info.strategies.find((each) => each.name === name);
    const failed = row && !row.generation;
    return h("article.column.panel", { "data-name": name, "aria-labelledby": `strategy-${name}`, class: failed ? "failed" : "" },
      h("h3", { id: `strategy-${name}` }, name, row?.seconds ? h("span.small.soft", {}, `${significant(row.seconds)} s`) : null),
      h("p.mono.small.soft.keywords", {}, keywords(given.keywords)),
      h("p.written", {}),
      row ? h("p.reason", {}, failed ? row.reason : row.why) : null,
      SEARCHES.has(name) && this.app.backend.can("film") ? button("watch it search", () => this.#watch(given.keywords), { class: "plain small" }) : null);
  }

  #watch(given) {
    this.#film.choose({ ...given, max_new_tokens: Math.min(12, Number(this.#length.input.value)), seed: Number(this.#seed.input.value) });
    this.#turn("film");
    this.#film.run();
  }

  /** A strategy's text; what is greedy's own is dim, the first token that is not stands out. */
  #drawText(/** @type {string} */ name) {
    const found = /** @type {Written} */ (this.#written.get(name));
    const text = this.#columns.querySelector(`[data-name="${CSS.escape(name)}"] .written`);
    if (!text) return;
    if (!found.tokens.length) {
      fill(text, found.best ? h("span.unsettled", { title: "the search may still change its mind" }, word(found.best)) : h("span.soft", {}, found.row ? "" : "…"));
      return;
    }
    const greedy = this.#written.get("greedy")?.tokens ?? [];
    const same = name === "greedy" ? -1 : shared(found.tokens, greedy);
    fill(text, parted(found.tokens, same, (step, index) =>
      (index === same && greedy[index] ? `${told(step)}; greedy took ${spoken(greedy[index])}` : told(step)), same < greedy.length));
  }
}

/** How many tokens two texts share from their start. */
function shared(/** @type {any[]} */ own, /** @type {any[]} */ other) {
  let n = 0;
  while (n < own.length && n < other.length && own[n].id === other[n].id) n += 1;
  return n;
}

function told(step) {
  return `${spoken(step)} ${percent(step.p)}, rank ${step.rank}`;
}

customElements.define("tg-strategies", Strategies);
