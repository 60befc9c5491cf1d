/** The chain: what stands between the model's numbers and the pick, stage by stage, with its controls. */

import { announce } from "../lib/announce.js";
import { button, fill, h } from "../lib/dom.js";
import { term } from "../lib/explain.js";
import { bits, bounds, counted, share } from "../lib/figures.js";
import { glyphs } from "../lib/glyphs.js";
import { codeBox } from "./code.js";
import { Controls } from "./controls.js";
import { DrawLine } from "./draw.js";
import { stageTable } from "./stage.js";

const GESTURE = 1500;  // ms within which changes of one control are one change, so that a ghost outlives a drag

export class ChainPanel extends HTMLElement {
  /** @type {import("../app.js").App} */
  app = /** @type {any} */ (undefined);
  /** @type {any} the table before the last change of a control */
  before = null;
  /** @type {string | null} the stage whose columns are open */
  #opened = null;
  /** @type {{next: any, came: any} | null} */
  #place = null;
  #changed = { name: "", at: 0 };
  #head = h("div.row");
  #stages = h("ol.stages");
  #columns = h("div.columns");
  #why = h("p.why");
  #warnings = h("div.stack");
  #controls = new Controls(this);
  #draw = new DrawLine(this);
  #code = codeBox(this);

  get store() {
    return this.app.store;
  }

  connectedCallback() {
    if (this.firstChild) return;
    this.close();
    fill(this, h("section.chain.stack", { "aria-label": "the chain" },
      this.#head, this.#stages, this.#columns, this.#warnings, this.#draw.element, this.#why, this.#controls.element, this.#code.element));
    this.store.addEventListener("state", (/** @type {any} */ event) => { if (event.detail.op !== "set") this.before = null; });
    this.store.addEventListener("failed", (/** @type {any} */ event) => this.#failed(event.detail));
  }

  /** Bring it into sight, on a narrow screen as a sheet, and the focus with it. */
  open() {
    this.dataset.sheet = "open";
    this.scrollIntoView({ block: "nearest", behavior: "auto" });
    /** @type {HTMLElement | null} */ (this.#stages.querySelector("button"))?.focus();
  }

  close() {
    this.dataset.sheet = "";
  }

  /**
   * Set one keyword; undefined takes it back to its default.
   *
   * @param {string} name @param {any} value
   */
  set(name, value) {
    const now = performance.now();
    if (name !== this.#changed.name || now - this.#changed.at > GESTURE) this.before = this.store.state.next;
    this.#changed = { name, at: now };
    const config = { ...this.store.config };
    if (value === undefined) delete config[name];
    else config[name] = value;
    if (value !== undefined && wantsDraw(this.app.info.keywords, name) && !config.do_sample) {
      config.do_sample = true;
      announce(`${name} acts on a draw: sampling is on from now on`);
    }
    this.store.config = config;
    return this.store.configure(config);
  }

  /** @param {{op: string, error: any}} detail */
  async #failed({ op, error }) {
    if (op !== "set") return;
    const { given } = this.store.state.config;
    if (this.store.config.order && this.#changed.name !== "order" && /\border\b/.test(error.message)) {
      const { order: _, ...config } = this.store.config;  // an order names every stage: a new one ends it
      await this.store.configure(config);
      return;
    }
    this.store.config = given;
    this.#controls.problem(error.field ?? this.#changed.name, error.message);
  }

  /** @param {any} state @param {{next: any, came: any} | null} [place] an earlier place that is looked at instead of the end */
  draw(state, place = this.#place) {
    this.#place = place;
    const next = place?.next ?? state.next;
    this.#drawHead(state);
    const rows = next.stages.length ? next.stages : [{ name: "model", params: {}, alive: next.vocab_size, removed: 0, changed: 0, mass_kept: 1, entropy_bits: next.entropy_bits }];
    fill(this.#stages, rows.map((stage, /** @type {number} */ index) => this.#stage(stage, index, rows)), this.#picker(state));
    const open = rows.findIndex((stage) => stage.name === this.#opened);
    fill(this.#columns, open > 0 ? stageTable(next, open) : null);
    fill(this.#warnings, state.config.warnings.map((/** @type {string} */ text) => h("p.note", {}, `⚠ ${text}`)),
      next.refused ? h("p.error", {}, next.refused) : null);
    fill(this.#why, state.last && !place ? [h("strong", {}, "why? "), state.last.why] : null);
    this.#draw.draw(place ? null : state.next);
    this.#controls.draw(state);
    this.#code.moved();
  }

  #drawHead(state) {
    const { preset } = state.chain;
    const choose = (event) => this.set("preset", event.target.value);
    fill(this.#head, h("h2", {}, term("chain", "the chain"), this.#place?.came ? [" where ", glyphs(this.#place.came), " came"] : null),
      h("label.small.push", {}, "order of", h("select", { onchange: choose, "aria-label": "preset: whose order and defaults" },
        this.app.info.presets.map((/** @type {string} */ name) => h("option", { value: name, selected: name === preset }, name)))),
      button("close", () => this.close(), { "class": "sheetclose" }));
  }

  /** @param {any} stage @param {number} index @param {any[]} rows */
  #stage(stage, index, rows) {
    const was = this.before?.stages.find((each) => each.name === stage.name);
    const open = this.#opened === stage.name;
    const toggle = () => { this.#opened = open ? null : stage.name; this.draw(this.store.state); };
    const name = h("span", {}, h("span.name", {}, stage.name), h("span.params", {}, shortParams(stage.params)));
    const numbers = [
      h("span.number", { title: "tokens still alive" }, counted(stage, "alive")),
      h("span.number.kept", {}, index && bounds(stage, "removed")[1] ? `keeps ${share(stage, "mass_kept")}` : ""),
      h("span.number", {}, bits(stage.entropy_bits), was && was.entropy_bits !== null && Math.abs(was.entropy_bits - (stage.entropy_bits ?? NaN)) > 5e-3 ? h("small.was", {}, `was ${was.entropy_bits.toFixed(2)}`) : null),
    ];
    return h("li.stage", { class: open ? "open" : "" },
      index ? h("button.stagerow", { type: "button", "aria-expanded": String(open), "data-key": `stage ${stage.name}`, onclick: toggle }, name, numbers) : h("div.stagerow", {}, name, numbers),
      rows.length > 2 ? this.#movers(stage.name, index, rows) : null,
      h("i.alive", { "aria-hidden": "true", style: { "--p": Math.log(bounds(stage, "alive")[1] + 1) / Math.log(bounds(rows[0], "alive")[1] + 1) } }));
  }

  /** @param {string} name @param {number} index @param {any[]} rows */
  #movers(name, index, rows) {
    if (!index) return h("span.movers");
    const names = rows.slice(1).map((row) => row.name);
    const move = (/** @type {number} */ by) => () => {
      const order = names.filter((each) => each !== name);
      order.splice(index - 1 + by, 0, name);
      this.set("order", order);
    };
    return h("span.movers", {},
      button("↑", move(-1), { "aria-label": `move ${name} up`, "data-key": `up ${name}`, disabled: index === 1 }),
      button("↓", move(1), { "aria-label": `move ${name} down`, "data-key": `down ${name}`, disabled: index === rows.length - 1 }));
  }

  /** Who picks at the end: the likeliest is taken, or one is drawn. */
  #picker(state) {
    const sampling = state.chain.mode === "sample";
    const choose = (/** @type {boolean} */ wanted) => () => this.set("do_sample", wanted);
    return h("li.picker.row", { hidden: this.#place !== null }, h("span", {}, "then "),
      button("take the best", choose(false), { "aria-pressed": String(!sampling), "data-key": "greedy" }),
      button("draw one", choose(true), { "aria-pressed": String(sampling), "data-key": "sample" }),
      sampling ? h("span.note", {}, `seed ${state.config.effective.seed}`) : h("span.note", {}, "no chance in it"));
  }
}

/** Whether a keyword acts only where a token is drawn. @param {any[]} keywords @param {string} name */
function wantsDraw(keywords, name) {
  return keywords.find((each) => each.name === name)?.group === "temperature and truncation";
}

/** The values of a stage that matter to a reader: "0.8", "k 50". */
function shortParams(/** @type {Record<string, any>} */ params) {
  const hidden = new Set(["min_keep", "tie", "compare"]);
  return Object.entries(params)
    .filter(([name, value]) => !hidden.has(name) && ["number", "string", "boolean"].includes(typeof value))
    .slice(0, 3).map(([name, value]) => (Object.keys(params).length === 1 || name.length === 1 ? String(value) : `${name} ${value}`)).join(" · ");
}

customElements.define("tg-chain", ChainPanel);
