/** A and B: what the next token is after each, how far apart that is, and where their texts part. */

import { announce } from "../lib/announce.js";
import { fill, h, sheet } from "../lib/dom.js";
import { choices, menu, numberField, textField } from "../parts/fields.js";
import { Run } from "../parts/run.js";
import { keywords } from "../strategies/keywords.js";
import { promptEnd, result } from "./result.js";
import { WordSwap } from "./swap.js";

const LENGTH = 12;
const ROWS = 12;

/** @typedef {{prompt: string, config?: object, model?: string}} Side */

export class Compare extends HTMLElement {
  /** @type {any} */
  app = null;
  #kind = "prompts";
  #a = textField("prompt A", "The capital of France is", { run: () => this.#go() });
  #b = textField("prompt B", "The capital of Italy is", { run: () => this.#go() });
  #length = numberField("tokens to write", LENGTH, { min: 1, max: 200 });
  #sides = h("div.parties");
  #kinds = h("div");
  #found = h("div.answer");
  /** @type {Record<"a" | "b", string>} */
  #strategy = { a: "greedy", b: "top_p" };
  /** @type {Record<"a" | "b", string>} */
  #model = { a: "", b: "" };
  #swap = new WordSwap((prompt, replacement, signal) => this.#ask({ prompt }, { prompt: replacement }, {}, signal), (row) => this.#draw(row));
  #run = new Run({ go: "compare" }, (signal) => this.#work(signal), () => this.app.refreshKeys());

  get keys() {
    return [
      { key: "r", label: this.#run.busy ? "stop" : "compare", foot: true, run: () => this.#run.toggle() },
      { key: "s", label: "swap A and B", foot: true, run: () => this.#exchange(), when: () => this.#kind !== "words" },
    ];
  }

  show(/** @type {{a?: string, b?: string} | null} */ args) {
    const fresh = !this.firstChild;
    if (fresh) this.#build();
    if (args?.a !== undefined) this.#a.value = args.a;
    if (args?.b !== undefined) this.#b.value = args.b;
    if (fresh || args) this.#go();
  }

  #build() {
    sheet("parts/parts.css");
    const { models } = this.app.info;
    this.#model = { a: models[0], b: models[1] ?? models[0] };
    this.#turn("prompts");
    fill(this, h("h2.unseen", {}, "Compare"),
      h("div.form", {},
        h("p.lead", {}, "Change one thing and see what it does to the next token: the prompt, the way of choosing, or the model."),
        h("div.row", {}, this.#kinds),
        this.#sides,
        h("div.row", {}, this.#length.label, this.#run.button, this.#run.status),
        this.#run.error),
      this.#found);
  }

  #turn(/** @type {string} */ kind) {
    this.#kind = kind;
    const kinds = [
      { value: "prompts", label: "two prompts" }, { value: "words", label: "change one word" }, { value: "configs", label: "two ways of choosing" },
      ...(this.app.info.models.length > 1 ? [{ value: "models", label: "two models" }] : []),
    ];
    fill(this.#kinds, choices("what differs", kinds, kind, (value) => { this.#turn(value); this.#go(); }));
    if (kind === "prompts") fill(this.#sides, this.#side("a", this.#a), this.#side("b", this.#b));
    else if (kind === "words") fill(this.#sides, this.#swap.element(this.#a.value));
    else fill(this.#sides, h("div.both", {}, this.#a), this.#side("a", this.#chooser("a")), this.#side("b", this.#chooser("b")));
    this.app.refreshKeys();
  }

  /** @param {"a" | "b"} name @param {HTMLElement} content */
  #side(name, content) {
    return h(`div.party.${name}`, {}, h("span.letter", { "aria-hidden": "true" }, name.toUpperCase()), content);
  }

  /** @param {"a" | "b"} name */
  #chooser(name) {
    if (this.#kind === "models") {
      const options = this.app.info.models.map((value) => ({ value, label: value }));
      return menu(`model ${name.toUpperCase()}`, options, this.#model[name], (value) => { this.#model[name] = value; }).label;
    }
    const said = h("span.mono.small.soft", {}, keywords(this.#given(name)));
    const options = this.app.info.strategies.map((each) => ({ value: each.name, label: each.name }));
    const chosen = menu(`strategy ${name.toUpperCase()}`, options, this.#strategy[name], (value) => {
      this.#strategy[name] = value;
      fill(said, keywords(this.#given(name)));
    });
    return h("div.row", {}, chosen.label, said);
  }

  /** @param {"a" | "b"} name */
  #given(name) {
    return this.app.info.strategies.find((each) => each.name === this.#strategy[name]).keywords;
  }

  #exchange() {
    if (this.#kind === "prompts") [this.#a.value, this.#b.value] = [this.#b.value, this.#a.value];
    for (const each of [this.#strategy, this.#model]) [each.a, each.b] = [each.b, each.a];
    this.#turn(this.#kind);
    this.#go();
  }

  #go() {
    this.#run.start();
    this.app.refreshKeys();
  }

  async #work(/** @type {AbortSignal} */ signal) {
    if (this.#kind === "words") return this.#swap.run(signal);
    const prompt = this.#a.value;
    const sides = /** @type {Record<string, () => Promise<any>>} */ ({
      prompts: () => this.#ask({ prompt }, { prompt: this.#b.value }, {}, signal),
      configs: () => this.#ask({ prompt, config: this.#given("a") }, { prompt, config: this.#given("b") }, { seed: 7 }, signal),
      models: () => this.#ask({ prompt, model: this.#model.a }, { prompt, model: this.#model.b }, {}, signal),
    });
    this.#draw(await sides[this.#kind]());
  }

  /** @param {Side} a @param {Side} b @param {object} config @param {AbortSignal} signal */
  #ask(a, b, config, signal) {
    return this.app.backend.call("compare", { a, b, config: { max_new_tokens: Number(this.#length.input.value), ...config }, n: ROWS }, { signal });
  }

  #draw(row) {
    fill(this.#found, result(row));
    announce(`total variation ${promptEnd(row).tv.toFixed(2)}; ${row.why}`);
  }
}

customElements.define("tg-compare", Compare);
