/**
 * The page over recorded rows: the same answers as a server gives, as far as they were recorded.
 *
 * What it cannot know it says. A reader can go where the recording went, and set anew what can be computed from
 * stored numbers (see reapply.js).
 */

import { BackendError } from "./backend.js";
import { known, stagesOf } from "./reapply.js";
import { StoredReading } from "./stored.js";

const SESSION = "recorded";
// stages after which every token that is left has the rank it had before
const ORDERLY = new Set(["model", "temperature", "top_k", "top_p", "min_p", "epsilon_cutoff", "eta_cutoff", "top_h", "top_n_sigma"]);
const NEEDS = "this needs a model, and a file has none; `tokenglass serve` opens the page with one";

/** @implements {import("./backend.js").Backend} */
export class RecordedBackend {
  #data;
  /** @type {Map<number, any>} */
  #nodes;
  /** @type {Map<number, any[]>} */
  #children = new Map();
  /** @type {Map<number, StoredReading>} */
  #readings = new Map();
  #here;
  /** @type {Map<number, number>} where redo leads */
  #redo;
  /** @type {any} keywords that the reader set; null while those of the recording hold */
  #config = null;
  #operations;

  /** @param {any} data what `tokenglass.handout` wrote */
  constructor(data) {
    this.#data = data;
    this.#nodes = new Map(data.nodes.map((/** @type {any} */ node) => [node.node, node]));
    for (const node of data.nodes) this.#children.set(node.parent, [...(this.#children.get(node.parent) ?? []), node]);
    this.#redo = new Map(Object.entries(data.redo).map(([parent, child]) => [Number(parent), /** @type {number} */ (child)]));
    this.#here = data.here;
    /** @type {Record<string, (asked: any) => any>} */
    this.#operations = {
      info: () => ({ ...data.info, operations: Object.keys(this.#operations) }),
      open: (asked) => this.#open(asked), state: (asked) => this.#state(asked), close: () => ({}),
      step: (asked) => this.#step(asked), undo: (asked) => this.#undo(asked), redo: (asked) => this.#again(asked), goto: (asked) => this.#goto(asked),
      set: (asked) => this.#set(asked), at: (asked) => this.#at(asked), lookup: (asked) => this.#lookup(asked), curve: (asked) => this.#curve(asked), chain: (asked) => this.#chain(asked),
      ...(data.prompt.tokens.some((/** @type {any} */ token) => token.p !== null) ? { surprisal: () => ({ rows: [] }) } : {}),
    };
  }

  can(/** @type {string} */ op) {
    return op in this.#operations;
  }

  onPush() {
    return () => {};
  }

  /** @param {string} op @param {any} [params] */
  async call(op, params = {}) {
    const run = this.#operations[op];
    if (!run) throw refused(NEEDS);
    return run(params);
  }

  /** @param {string} op */
  async stream(op) {
    throw refused(`${op}: ${NEEDS}`);
  }

  // ------------------------------------------------------------------------------------------- moves

  #open(/** @type {any} */ asked) {
    if (asked.prompt !== this.#data.prompt.text) throw refused(`another text: ${NEEDS}`, "prompt");
    return this.#state(asked);
  }

  #step(/** @type {any} */ asked) {
    if (asked.u !== undefined || asked.reroll) throw refused(`drawing anew: ${NEEDS}`);
    const followers = this.#children.get(this.#here) ?? [];
    if (!followers.length) throw refused("the recording ends here; undo, or go to another place of the tree");
    const found = asked.token === undefined ? this.#main(followers) : followers.find((node) => this.#names(node, asked.token));
    if (!found) throw refused(`the recording did not go there; from here it went to ${followers.map((node) => node.token).slice(0, 8).join("  ")}`, "token");
    this.#stand(found.node);
    return this.#state(asked);
  }

  /** Where the recording mainly went on: where redo leads, else the first that was written. @param {any[]} followers */
  #main(followers) {
    return followers.find((node) => node.node === this.#redo.get(this.#here)) ?? followers[0];
  }

  /** @param {any} node @param {number | string} token */
  #names(node, token) {
    return typeof token === "number" ? node.id === token : node.bytes === hexOf(token);
  }

  #undo(/** @type {any} */ { count = 1, ...asked }) {
    for (let i = 0; i < count && this.#place.parent !== null; i++) {
      this.#redo.set(this.#place.parent, this.#here);
      this.#here = this.#place.parent;
    }
    return this.#state(asked);
  }

  #again(/** @type {any} */ { count = 1, ...asked }) {
    for (let i = 0; i < count && this.#nodes.has(this.#redo.get(this.#here) ?? -1); i++) this.#here = /** @type {number} */ (this.#redo.get(this.#here));
    return this.#state(asked);
  }

  #goto(/** @type {any} */ asked) {
    const found = typeof asked.node === "number" ? this.#nodes.get(asked.node) : this.#data.nodes.find((/** @type {any} */ node) => node.name === asked.node);
    if (!found) throw refused("there is no such place in the recording", "node");
    this.#stand(found.node);
    return this.#state(asked);
  }

  #stand(/** @type {number} */ node) {
    this.#here = node;
    for (const each of this.#path(node)) this.#redo.set(each.parent, each.node);
  }

  #set(/** @type {any} */ asked) {
    const { given } = this.#recorded, wanted = asked.config ?? {};
    const before = this.#next(this.#here, asked.n);
    const own = new Set(["seed", ...this.#data.info.keywords.map((/** @type {any} */ each) => each.name)]);
    const names = [...new Set([...Object.keys(given), ...Object.keys(wanted)])];
    const foreign = names.find((name) => !own.has(name) && JSON.stringify(given[name]) !== JSON.stringify(wanted[name]));
    if (foreign) throw refused(`${foreign}: ${NEEDS}`, foreign);
    const same = names.every((name) => JSON.stringify(given[name]) === JSON.stringify(wanted[name]));
    if (!same) this.#check(wanted);
    this.#config = same ? null : wanted;
    return { ...this.#state(asked), before };
  }

  /** Whether keywords can be put in force from stored numbers. @param {any} wanted */
  #check(wanted) {
    const { chain } = this.#recorded, ours = new Set(["model", "temperature", "top_k", "top_p", "min_p"]);
    const other = (chain?.stages ?? []).find((/** @type {any} */ stage) => !ours.has(stage.name));
    if (other) throw refused(`with ${other.name} in the chain ${NEEDS}`, other.name);
    if (chain && chain.preset !== "transformers") throw refused(`in the order of ${chain.preset} ${NEEDS}`, "preset");
    /** @type {[string, (value: number) => boolean, string][]} */
    const intervals = [
      ["temperature", (t) => t > 0, "a number above 0"], ["top_k", (k) => Number.isInteger(k) && k >= 0, "a whole number of at least 0"],
      ["top_p", (p) => p >= 0 && p <= 1, "a number from 0 to 1"], ["min_p", (p) => p >= 0 && p <= 1, "a number from 0 to 1"],
    ];
    for (const [name, allows, words] of intervals) {
      const value = wanted[name];
      if (value !== undefined && value !== null && !(Number.isFinite(value) && allows(value))) throw refused(`${name} must be ${words}, got ${value}`, name);
    }
  }

  // ------------------------------------------------------------------------------------------- places

  get #place() {
    return this.#nodes.get(this.#here);
  }

  /** The places from the first token written to a node. @param {number} node @returns {any[]} */
  #path(node) {
    const found = [];
    for (let place = this.#nodes.get(node); place.parent !== null; place = this.#nodes.get(place.parent)) found.push(place);
    return found.reverse();
  }

  /** The keywords that were in force at this place. */
  get #recorded() {
    return this.#data.configs[this.#follower(this.#here)?.config ?? this.#data.config];
  }

  /** What was written next: its record holds the table of this place. @param {number} node */
  #follower(node) {
    const followers = this.#children.get(node) ?? [];
    if (!followers.length) return undefined;
    const main = this.#redo.get(node);
    return followers.find((each) => each.node === main && each.config === this.#data.config) ?? followers.find((each) => each.config === this.#data.config)
      ?? followers.find((each) => each.node === main) ?? followers[0];
  }

  /** @param {number | undefined} number */
  #reading(number) {
    if (number === undefined) return null;
    let found = this.#readings.get(number);
    if (!found) {
      found = new StoredReading(this.#data.readings[number], this.#data.tokens, this.#data.info.model.vocab_size);
      this.#readings.set(number, found);
    }
    return found;
  }

  /** What the model said after a node, or null. @param {number} node */
  #after(node) {
    return this.#reading(this.#follower(node)?.reading ?? this.#data.ends[node]);
  }

  /** What it said after a position of prompt and text, and which node that is. @param {number} position */
  #afterPosition(position) {
    const prompt = this.#data.prompt.tokens.length, path = this.#path(this.#here);
    if (!(position >= 0 && position < prompt + path.length)) throw refused("there is no such position", "position");
    if (position < prompt - 1) return { node: null, reading: this.#reading(this.#data.inside[position]) };
    const node = position === prompt - 1 ? 0 : path[position - prompt].node;
    return { node, reading: this.#after(node) };
  }

  // -------------------------------------------------------------------------------------------- rows

  #state(/** @type {any} */ { n = 10 } = {}) {
    const place = this.#place, redo = this.#nodes.get(this.#redo.get(this.#here) ?? -1), on = new Set(this.#path(this.#here).map((each) => each.node));
    return {
      session: SESSION, model: this.#data.info.model.name, node: this.#here,
      text: this.#data.prompt.text + this.#path(this.#here).map((each) => each.text).join(""),
      tokens: this.#tokens(), next: this.#next(this.#here, n), last: this.#last(place),
      can_undo: place.parent !== null, can_redo: Boolean(redo), redo_token: redo?.token ?? null, finish_reason: place.finish_reason ?? null,
      ...this.#settings(), tree: { revision: 0, since: null, n_nodes: this.#data.nodes.length, gone: [], nodes: this.#data.nodes.map((/** @type {any} */ each) => this.#row(each, on)) },
    };
  }

  /** @param {any} node @param {Set<number>} on */
  #row({ groups: _, why: __, reading: ___, ...node }, on) {
    return { ...node, depth: this.#path(node.node).length, on_path: node.node === 0 || on.has(node.node), ended: Boolean(node.finish_reason) };
  }

  #tokens() {
    const path = this.#path(this.#here), groups = this.#place.groups ?? path.findLast((each) => each.groups)?.groups ?? {};
    const first = this.#data.prompt.tokens.length;
    const written = path.map((node, index) => ({
      ...node, position: first + index, is_prompt: false, template: null,
      surprisal_bits: node.logprob === null ? null : -node.logprob / Math.LN2,
    }));
    return [...this.#data.prompt.tokens, ...written].map((token) => ({ ...token, group: groups[token.position] ?? token.group ?? null }));
  }

  #settings() {
    const { chain, ...config } = this.#recorded;
    const found = chain ?? { mode: "unknown", preset: "transformers", stages: [], selection: { name: "unknown", params: {}, sources: {} } };
    if (!this.#config) return { config, chain: found };
    const stages = stagesOf(this.#filled).map(({ name, params }) => ({ name, params, sources: {}, paper: "" }));
    const effective = { ...config.effective, ...this.#filled };
    return { config: { ...config, given: this.#config, effective, no_effect: [] }, chain: { ...found, mode: this.#config.do_sample ? "sample" : "greedy", stages } };
  }

  /** The reader's keywords, and for those left out what holds without them. */
  get #filled() {
    return { ...this.#data.defaults, ...this.#config };
  }

  /** @param {number} node @param {number} [n] */
  #next(node, n = 10) {
    return { ...this.#table(this.#after(node), n, node), ...this.#pick(node), refused: null, draw_preview: null };
  }

  /** @param {StoredReading | null} reading @param {number} n @param {number | null} node */
  #table(reading, n, node) {
    if (!reading) return unknown(this.#data.info.model.vocab_size);
    const found = reading.table(n, this.#config && this.#filled);
    const went = new Set((node === null ? [] : this.#children.get(node) ?? []).map((each) => each.id));
    return { ...found, rows: found.rows.map((row) => ({ ...row, recorded: went.has(row.id) })) };
  }

  /** The token that the recording went on with. @param {number} node */
  #pick(node) {
    const followers = this.#children.get(node) ?? [];
    if (!followers.length || this.#config) return { pick: null };
    const { id, token, p_final, origin, draw, cdf } = followers.find((each) => each.node === this.#redo.get(node)) ?? followers[0];
    return { pick: { id, token, p_final, origin, draw, cdf } };
  }

  /** The step that led to a place. @param {any} node */
  #last(node) {
    if (node.parent === null) return null;
    const reading = /** @type {StoredReading} */ (this.#reading(node.reading));
    const { groups: _, reading: __, ...row } = node;
    return { ...row, logsumexp: reading.logsumexp, top: reading.ids.map((___, i) => reading.recordedRow(i)), stages: reading.stages };
  }

  #at(/** @type {any} */ { position, n = 10 }) {
    const { node, reading } = this.#afterPosition(position);
    if (!reading) throw refused("what was likely here was not recorded", "position");
    const came = this.#tokens()[position + 1];
    return { position, next: { ...this.#table(reading, n, node), pick: null, refused: null, draw_preview: null }, came: came ? this.#came(reading, came) : null };
  }

  /** @param {StoredReading} reading @param {any} token that stands after it */
  #came(reading, token) {
    const at = reading.place(token.id);
    if (at >= 0) return reading.table(at + 1, this.#config && this.#filled).rows[at];
    return { ...token, removed_by: null, removed: null, p_final: this.#config ? null : token.p_final };
  }

  #lookup(/** @type {any} */ { token, position = this.#tokens().length - 1 }) {
    const { reading } = this.#afterPosition(position);
    if (!reading) throw refused("what is likely here was not recorded", "position");
    const at = reading.ids.findIndex((id) => (typeof token === "number" ? id === token : reading.named(id).bytes === hexOf(token)));
    if (at < 0) throw refused(this.#less(reading, token), "token");
    const table = reading.table(at + 1, this.#config && this.#filled), row = table.rows[at];
    return { row, account: account(row, table.stages) };
  }

  /** @param {StoredReading} reading @param {number | string} token */
  #less(reading, token) {
    const least = Math.exp(reading.logits[reading.logits.length - 1] - reading.logsumexp);
    const name = typeof token === "number" ? `token ${token}` : `“${token}”`;
    return `${name} is none of the ${reading.ids.length} likeliest, which are all that this file keeps: as one token it has at most ${(100 * least).toPrecision(3)} %`;
  }

  #curve(/** @type {any} */ { position = this.#tokens().length - 1 }) {
    const { reading } = this.#afterPosition(position);
    if (!reading) throw refused("what is likely here was not recorded", "position");
    const { stages } = reading.table(1, this.#config && this.#filled);
    const cuts = stages.filter((/** @type {any} */ stage) => stage.removed && stage.alive && stage.alive <= reading.ids.length);
    return {
      vocab_size: reading.vocabSize, entropy_bits: reading.entropyBits, points: reading.curve(), final: null, exact: reading.ids.length,
      cuts: cuts.map((/** @type {any} */ { name, params, alive }) => ({ stage: name, params, alive, rank: alive, p: Math.exp(reading.logits[alive - 1] - reading.logsumexp), is_prefix: true })),
    };
  }

  #chain(/** @type {any} */ { session, n = 10 }) {
    if (!session) throw refused(NEEDS, "config");
    if (this.#config) throw refused(`code for settings that were changed in a file: ${NEEDS}`);
    const { code, tokenglass_code: own } = this.#recorded, next = this.#next(this.#here, n);
    if (!code) throw refused("the code of these settings was not recorded");
    return { ...this.#settings().chain, code, tokenglass_code: own, records: next.stages, accounts: next.rows.map((row) => account(row, next.stages)) };
  }
}

/** A table about which nothing is known. @param {number} size */
function unknown(size) {
  return {
    vocab_size: size, coverage: 0, entropy_bits: null, effective_choices: null, rows: [], rest_n: size, ...known("rest_p", [1, 1]), ...known("rest_p_final", [1, 1]), stages: [],
    unknown: "What may come next was not recorded here; it needs a model. Step back, or go to another place of the tree.",
  };
}

/** A candidate's way through the chain. @param {any} row @param {any[]} stages */
function account(row, stages) {
  const trail = row.trail ?? [row.p];
  const names = stages.length ? stages.map(({ name }) => name) : ["model"];
  const out = row.removed ? names.indexOf(row.removed.stage) : names.length;
  const effects = names.map((stage, i) => ({ stage, score: i ? null : row.logit, p: i ? trail[i] ?? null : row.p, rank: i < out && names.slice(0, i + 1).every((name) => ORDERLY.has(name)) ? row.rank : null }));
  const fate = row.removed ? `removed by ${row.removed.stage}.` : stages.length ? "kept." : "no stage touched it.";
  return { id: row.id, token: row.token, bytes: row.bytes, kind: row.kind, effects, removed: row.removed, fate };
}

/** @param {string} text its UTF-8 bytes in hexadecimal */
function hexOf(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} message @param {string | null} [field] */
function refused(message, field = null) {
  return new BackendError(message, { type: "NotRecorded", field, status: 400 });
}
