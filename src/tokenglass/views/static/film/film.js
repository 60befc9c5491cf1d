/** A search as a film: one frame a step, forwards and backwards, by keys, by hand or by itself. */

import { announce } from "../lib/announce.js";
import { button, fill, h } from "../lib/dom.js";
import { count } from "../lib/figures.js";
import { did } from "../parts/did.js";
import { menu, numberField } from "../parts/fields.js";
import { word } from "../parts/prose.js";
import { Run } from "../parts/run.js";
import { beamFrame, bestIds } from "./beams.js";
import { contrastiveFrame, dolaFrame, draftFrame } from "./others.js";

const PLAY_MS = 900;
const STEPS = 12;

/** @typedef {{name: string, label: string, value: number, min?: number, max?: number, step?: number}} Field */

/** @type {Record<string, {label: string, fields: Field[], fixed?: Record<string, any>, words?: boolean}>} */
const KINDS = {
  beams: { label: "beam search", fields: [
    { name: "num_beams", label: "beams", value: 4, min: 2, max: 16 },
    { name: "length_penalty", label: "length penalty", value: 1, step: 0.1 }] },
  groups: { label: "beams in groups", fields: [
    { name: "num_beams", label: "beams", value: 4, min: 2, max: 16 },
    { name: "num_beam_groups", label: "groups", value: 2, min: 2, max: 16 },
    { name: "diversity_penalty", label: "diversity penalty", value: 1, min: 0, step: 0.1 }] },
  words: { label: "beams with a forced word", words: true, fields: [
    { name: "num_beams", label: "beams", value: 4, min: 2, max: 16 }] },
  contrastive: { label: "contrastive search", fields: [
    { name: "penalty_alpha", label: "α", value: 0.6, min: 0, max: 1, step: 0.05 },
    { name: "top_k", label: "candidates", value: 4, min: 2, max: 50 }] },
  dola: { label: "DoLa: layers contrasted", fixed: { dola_layers: "low" }, fields: [] },
  lookup: { label: "drafts copied from the text", fields: [
    { name: "prompt_lookup_num_tokens", label: "tokens drafted", value: 5, min: 1, max: 20 }] },
};

const FRAMES = /** @type {Record<string, (film: any, record: any) => Node[]>} */ ({
  beam: beamFrame, contrastive: contrastiveFrame, dola: dolaFrame, draft: draftFrame,
});

export class Film extends HTMLElement {
  /** @type {any} */
  app = null;
  /** @type {() => string} */
  prompt = () => "";
  /** @type {any[]} one record a step, in order */
  records = [];
  /** @type {Record<string, string>} display text of every token id that was named */
  names = {};
  /** @type {any[]} the prompt's tokens */
  promptTokens = [];
  /** @type {Record<string, any>} */
  config = {};
  /** @type {any} how it ended */
  result = null;
  #at = 0;
  #follow = true;
  #timer = 0;
  #kind = "beams";
  /** @type {Record<string, any>} what a column of the strategies asked for */
  #given = {};
  /** @type {{field: Field, input: HTMLInputElement}[]} */
  #inputs = [];
  #word = h("input", { type: "text", value: " magic", size: 10 });
  #length = numberField("tokens", STEPS, { min: 1, max: 60 });
  #fields = h("div.row");
  #run = new Run({ go: "search" }, (signal) => this.#work(signal), () => this.app.refreshKeys());
  #range = h("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "step of the search", oninput: () => this.go(Number(this.#range.value)) });
  #number = h("output.step-number.number");
  #play = button("play", () => this.toggle(), { "aria-pressed": "false" });
  #frame = h("div.frame-of-film", { role: "region", "aria-label": "this step", tabindex: "-1" });
  #empty = h("p.empty", {}, "Press search: the film records one frame for each token.");
  #timeline = h("div.timeline.panel", { hidden: true });

  get keys() {
    const some = () => this.records.length > 0;
    return [
      { key: "ArrowLeft", label: "step back", foot: true, run: () => this.go(this.#at - 1), when: some },
      { key: "ArrowRight", label: "step forward", foot: true, run: () => this.go(this.#at + 1), when: some },
      { key: "Home", label: "first step", run: () => this.go(0), when: some },
      { key: "End", label: "last step", run: () => this.go(this.records.length - 1), when: some },
      { key: " ", label: this.#timer ? "pause" : "play", foot: true, run: () => this.toggle(), when: some },
      { key: "r", label: this.#run.busy ? "stop" : "search again", foot: true, run: () => this.#run.toggle() },
    ];
  }

  connectedCallback() {
    if (this.firstChild) return;
    fill(this.#timeline,
      button("|◀", () => this.go(0), { "aria-label": "first step" }),
      button("◀", () => this.go(this.#at - 1), { "aria-label": "step back" }),
      this.#play,
      button("▶", () => this.go(this.#at + 1), { "aria-label": "step forward" }),
      button("▶|", () => this.go(this.records.length - 1), { "aria-label": "last step" }),
      this.#range, this.#number);
    this.#form();
    fill(this, h("div.form", {}, this.#fields, this.#run.error), this.#timeline, this.#empty, this.#frame);
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  /** It came into sight: the first time it does not stay empty. */
  shown() {
    if (!this.records.length && !this.#run.busy) this.run();
  }

  run() {
    this.#run.start();
    this.app.refreshKeys();
  }

  /** Take over the keywords of a strategy. */
  choose(/** @type {Record<string, any>} */ given) {
    const { max_new_tokens: length, ...rest } = given;
    this.#kind = "num_beam_groups" in given ? "groups" : "num_beams" in given ? "beams" : "penalty_alpha" in given ? "contrastive"
      : "dola_layers" in given ? "dola" : "lookup";
    this.#given = rest;
    if (length) this.#length.input.value = String(length);
    this.#form();
  }

  /** Show a step; out of range is the nearest. */
  go(/** @type {number} */ step) {
    this.#follow = step >= this.records.length - 1;
    this.#show(Math.max(0, Math.min(this.records.length - 1, step)));
  }

  toggle() {
    if (this.#timer) return this.#pause();
    if (this.#at >= this.records.length - 1) this.go(0);
    this.#timer = setInterval(() => (this.#at < this.records.length - 1 ? this.go(this.#at + 1) : this.#pause()), PLAY_MS);
    this.#drawPlay();
  }

  /** The display text of an id. */
  name(/** @type {number} */ id) {
    return this.names[id] ?? `⟨${id}⟩`;
  }

  #pause() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#drawPlay();
  }

  #drawPlay() {
    fill(this.#play, this.#timer ? "pause" : "play");
    this.#play.setAttribute("aria-pressed", String(Boolean(this.#timer)));
    this.app.refreshKeys();
  }

  #form() {
    const kind = KINDS[this.#kind];
    const chosen = menu("search", Object.entries(KINDS).map(([value, { label }]) => ({ value, label })), this.#kind, (value) => {
      this.#kind = value;
      this.#given = {};
      this.#form();
      this.run();
    });
    this.#inputs = [];
    const fields = kind.fields.map((field) => {
      const made = numberField(field.label, this.#given[field.name] ?? field.value, { min: field.min, max: field.max, step: field.step ?? 1 });
      this.#inputs.push({ field, input: made.input });
      return made.label;
    });
    const forced = kind.words ? h("label", {}, h("span.small.soft", {}, "word (its space counts)"), this.#word) : null;
    fill(this.#fields, chosen.label, fields, forced, this.#length.label, this.#run.button, this.#run.status);
  }

  async #asked() {
    const kind = KINDS[this.#kind];
    const set = Object.fromEntries(this.#inputs.map(({ field, input }) => [field.name, Number(input.value)]));
    const config = { do_sample: false, ...this.#given, ...kind.fixed, ...set, max_new_tokens: Number(this.#length.input.value) };
    if (!kind.words) return config;
    const { ids } = await this.app.backend.call("tokenize", { text: this.#word.value, add_special_tokens: false });
    return { ...config, force_words_ids: [ids] };
  }

  async #work(/** @type {AbortSignal} */ signal) {
    this.#pause();
    const prompt = this.prompt();
    const [config, cut] = await Promise.all([this.#asked(), this.app.backend.call("tokenize", { text: prompt })]);
    Object.assign(this, { records: [], names: {}, config, promptTokens: cut.tokens, result: null });
    this.#at = 0;
    this.#follow = true;
    this.#empty.hidden = true;
    this.result = await this.app.backend.stream("film", { prompt, config }, { signal, onItem: (record) => this.#take(record) });
    this.#run.say(`${count(this.records.length, "step")}`);
    this.#show(this.#at);
    announce(`the search took ${count(this.records.length, "step")}; arrow keys walk through them`);
    this.app.refreshKeys();
  }

  #take(record) {
    Object.assign(this.names, record.tokens);
    this.records.push(record);
    this.#show(this.#follow ? this.records.length - 1 : this.#at);
  }

  #show(/** @type {number} */ at) {
    const record = this.records[at];
    if (!record) return;
    const backwards = at < this.#at;
    this.#at = at;
    const last = this.records.length - 1;
    this.#timeline.hidden = false;
    this.#range.max = String(last);
    this.#range.value = String(at);
    this.#range.setAttribute("aria-valuetext", `step ${at + 1} of ${last + 1}`);
    fill(this.#number, `step ${at + 1} of ${last + 1}`);
    this.#frame.classList.toggle("backwards", backwards);
    fill(this.#frame, this.#soFar(at), FRAMES[record.kind](this, record), this.#end(at));
    did({ what: "film", kind: record.kind, backwards, banked: record.bank?.length > 0 });
  }

  /** The text as it stood before this step; of several the best. */
  #soFar(/** @type {number} */ at) {
    const before = this.records.slice(0, at);
    const ids = this.records[at].kind === "beam" ? bestIds(this.records[at]) : before.flatMap(written);
    return h("p.so-far", {}, this.promptTokens.map((token) => word(token.token, { class: "soft" })),
      ids.map((id) => word(this.name(id))), h("span.caret", { "aria-hidden": "true" }));
  }

  #end(/** @type {number} */ at) {
    const { result } = this;
    if (!result || at < this.records.length - 1) return null;
    return h("section.ends", {}, h("h3", {}, count(result.sequences.length, "text"), " came out"),
      h("ol", {}, result.sequences.map((each) => h("li", {},
        each.steps.map((step) => word(step.token)), h("span.note", {}, ` ${each.finish_reason}`)))));
  }
}

/** The ids that a record of a search with one text wrote. */
function written(record) {
  if (record.kind === "draft") return record.written;
  if (record.kind === "contrastive") return record.rows.filter((row) => row.chosen).map((row) => row.token_id);
  return [record.token_id];
}

customElements.define("tg-film", Film);
