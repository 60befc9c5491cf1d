/** The tree: every text that was written from this prompt, as lanes; nothing that was left is lost. */

import { announce } from "../lib/announce.js";
import { button, fill, focused, h } from "../lib/dom.js";
import { term } from "../lib/explain.js";
import { count, percent } from "../lib/figures.js";
import { glyphs, spoken } from "../lib/glyphs.js";
import { afterPaint } from "../lib/latest.js";
import { drawLanes, LANE } from "./lanes.js";
import { layout, MOST_LANES } from "./layout.js";
import { sideBySide } from "./side.js";

const SAMPLE = 12;  // tokens of each text that is drawn

export class TreePanel extends HTMLElement {
  /** @type {import("../app.js").App} */
  app = /** @type {any} */ (undefined);
  /** @type {Set<number>} nodes whose followers are folded away */
  #folded = new Set();
  /** @type {number} the node that the keyboard is on */
  #at = 0;
  #side = false;
  /** @type {any} */
  #laid = null;
  #mass = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "share to unfold to" }, [0.5, 0.8, 0.95].map((mass) => h("option", { value: mass }, `${mass * 100} %`))));
  #samples = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "how many texts" }, [4, 8, 16].map((n) => h("option", { value: n, selected: n === 8 }, n))));
  #head = h("div.row");
  #lanes = h("div.lanes", { role: "tree", "aria-label": "the tree of texts" });
  #about = h("div.row.small");
  #columns = h("div.side");
  #error = h("p.error", { role: "alert", hidden: true });

  get store() {
    return this.app.store;
  }

  connectedCallback() {
    if (this.firstChild) return;
    this.close();
    fill(this, h("section.tree.stack", { "aria-label": "the tree" }, this.#head, this.#error, this.#lanes, this.#about, this.#columns));
    this.store.addEventListener("state", (/** @type {any} */ event) => this.#arrived(event.detail));
    this.store.addEventListener("failed", (/** @type {any} */ event) => this.#failed(event.detail));
    this.#lanes.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Bring it into sight, on a narrow screen as a sheet, and the focus with it. */
  open() {
    this.dataset.sheet = "open";
    this.scrollIntoView({ block: "nearest" });
    this.#focus(this.store.state.node);
  }

  close() {
    this.dataset.sheet = "";
  }

  /** @param {{op: string, state: any}} detail */
  #arrived({ op, state }) {
    if (op === "open") this.#folded.clear();
    this.#error.hidden = true;
    const moved = ["open", "step", "play", "undo", "redo", "goto"].includes(op);
    if (moved || !state.tree.nodes.some((node) => node.node === this.#at)) this.#at = state.node;
    this.#later();
    this.#tell(op, state);
  }

  #later = afterPaint(() => this.draw());

  #tell(/** @type {string} */ op, state) {
    if (op === "expand" && state.expansion) announce(`unfolded ${count(state.expansion.n_new, "place")}, ${percent(state.expansion.covered)} of all continuations`);
    if (op === "sample" && state.samples) announce(`${count(state.samples.counts?.length ?? 0, "continuation")} drawn`);
  }

  /** @param {{op: string, error: any}} detail */
  #failed({ op, error }) {
    if (!["expand", "sample", "name", "prune", "note"].includes(op)) return;
    this.#error.textContent = error.message;
    this.#error.hidden = false;
  }

  draw() {
    const { state } = this.store;
    const hadFocus = this.#lanes.contains(focused());
    this.#laid = layout(state.tree.nodes, this.#folded, state.node);
    this.#drawHead(state);
    fill(this.#lanes, drawLanes(this.#laid, {
      here: state.node, at: this.#at,
      onGo: (node) => this.#go(node), onFold: (node) => this.#fold(node), onFocus: (node) => { this.#at = node; this.#drawAbout(); },
    }));
    if (hadFocus) this.#focus(this.#at);
    this.#reveal(state.node);
    this.#drawAbout();
    fill(this.#columns, this.#side ? sideBySide(state.tree.nodes, (/** @type {number} */ node) => this.#go(node)) : null);
  }

  #drawHead(state) {
    const ends = this.#laid.leaves;
    const can = (/** @type {string} */ op) => this.app.backend.can(op);
    const last = state.expansion ?? null;
    fill(this.#head, h("h2", {}, term("tree", "the tree")), h("span.note", {}, `${count(state.tree.nodes.length, "place")}, ${count(ends, "text")}`),
      last ? h("span.note", {}, `unfolded: ${percent(last.covered)} of all continuations`) : null,
      h("span.row.push", {},
        can("expand") ? [button("unfold to", () => this.store.act("expand", { mass: Number(this.#mass.value), limit: MOST_LANES }), { title: "the likeliest next tokens that together have at least this share" }), this.#mass] : null,
        can("sample") ? [button("draw", () => this.#sample(), { "data-key": "sample", title: "continuations, laid over the tree with counts" }), this.#samples, h("span", {}, "texts")] : null,
        button("side by side", () => { this.#side = !this.#side; this.draw(); }, { "aria-pressed": String(this.#side), disabled: ends < 2 }),
        button("close", () => this.close(), { "class": "sheetclose" })));
  }

  async #sample() {
    await this.store.draws();
    await this.store.act("sample", { samples: Number(this.#samples.value), max_new_tokens: SAMPLE });
  }

  #drawAbout() {
    const node = this.#laid.byId.get(this.#at);
    if (!node) return void fill(this.#about);
    const row = node.row;
    const name = /** @type {HTMLInputElement} */ (h("input", { type: "text", value: row.name ?? "", "aria-label": "name of this place", placeholder: "name this place" }));
    name.addEventListener("change", () => this.store.act("name", { node: this.#at, text: name.value }));
    const can = (/** @type {string} */ op) => this.app.backend.can(op);
    fill(this.#about, row.token === undefined ? "the prompt" : [glyphs(row), h("span.soft", {}, `${percent(row.p)} by the model, ${percent(row.p_final)} after the chain · ${row.origin}`)],
      button("go here", () => this.#go(this.#at), { disabled: this.#at === this.store.state.node }),
      can("name") && row.parent !== null ? name : null,
      can("prune") && row.parent !== null ? button("take this branch off", () => this.store.act("prune", { node: this.#at }), { "class": "plain" }) : null);
  }

  #go(/** @type {number} */ node) {
    this.#at = node;
    if (node !== this.store.state.node) this.store.act("goto", { node });
  }

  /** Scroll the lanes, and only them, to a place. */
  #reveal(/** @type {number} */ node) {
    const found = this.#laid.byId.get(node);
    if (!found || found.lane < 0) return;
    const { scrollLeft, clientWidth, scrollTop, clientHeight } = this.#lanes;
    if (found.x < scrollLeft || found.x + found.width > scrollLeft + clientWidth) this.#lanes.scrollLeft = found.x - clientWidth / 2;
    const y = found.lane * LANE;
    if (y < scrollTop || y + LANE > scrollTop + clientHeight) this.#lanes.scrollTop = y - clientHeight / 2;
  }

  #fold(/** @type {number} */ node) {
    if (this.#folded.has(node)) this.#folded.delete(node);
    else this.#folded.add(node);
    this.draw();
  }

  #focus(/** @type {number} */ node) {
    const found = /** @type {HTMLElement | null} */ (this.#lanes.querySelector(`[data-node="${node}"]`));
    if (!found) return;
    this.#at = node;
    found.focus();
    const row = this.#laid.byId.get(node)?.row;
    if (row?.token) announce(`${spoken(row)}, ${percent(row.p)}`);
  }

  /** The keys of a tree: along the lane, between lanes, fold, go. */
  #key(/** @type {KeyboardEvent} */ event) {
    const node = this.#laid.byId.get(this.#at);
    if (!node) return;
    const to = { ArrowLeft: node.from?.row.node, ArrowRight: node.shown[0]?.row.node, ArrowDown: this.#laid.below(node, 1), ArrowUp: this.#laid.below(node, -1), Home: 0 }[event.key];
    if (to !== undefined && to !== null) this.#focus(to);
    else if (event.key === "Enter") this.#go(this.#at);
    else if (event.key === " " || event.key === "-" || event.key === "+") this.#fold(this.#at);
    else if (event.key === "Delete" && node.row.parent !== null && this.app.backend.can("prune")) this.store.act("prune", { node: this.#at });
    else if (event.key === "n") /** @type {HTMLElement | null} */ (this.#about.querySelector("input"))?.focus();
    else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    event.stopPropagation();
  }
}

customElements.define("tg-tree", TreePanel);
