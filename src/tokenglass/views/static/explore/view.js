/** Explore: the text is the instrument; everything else explains the gap after its last token. */

import "../chain/panel.js";
import "../tree/panel.js";
import "./editor.js";
import "./text.js";
import { announce } from "../lib/announce.js";
import { isAbort } from "../lib/backend.js";
import { button, fill, h, sheet } from "../lib/dom.js";
import { afterPaint, latest } from "../lib/latest.js";
import { drawCurve } from "./curve.js";
import { GuessGame } from "./guess.js";
import { TokenEntry } from "./entry.js";
import { Play } from "./play.js";
import { details, facts, nextTable, title } from "./next.js";
import { exploreKeys } from "./keys.js";
import { ended, sentence } from "./told.js";
import { tools } from "./tools.js";

const MOST_ROWS = 1000;

export class Explore extends HTMLElement {
  /** @type {import("../app.js").App} */
  app = /** @type {any} */ (undefined);
  zoom = false;
  marks = false;
  /** @type {any} the table before the last change of a control */
  ghost = null;
  /** @type {{index: number, next: any, came: any} | null} the earlier token that the page is about */
  place = null;
  /** @type {number | null} */
  pinned = null;
  curveOpen = false;
  #prompt = { text: "", chat: false };
  #edit = this.#prompt;  // what the editor holds that the model has read already

  text = /** @type {import("./text.js").TextStrip} */ (h("tg-text"));
  editor = /** @type {import("./editor.js").PromptEditor} */ (h("tg-editor", { hidden: true }));
  chain = /** @type {any} */ (h("tg-chain"));
  tree = /** @type {any} */ (h("tg-tree"));
  guess = new GuessGame(this);
  entry = new TokenEntry(this);
  play = new Play(this);
  #tools = h("div.tools.row");
  #heading = h("div.about");
  #table = h("div.table");
  #detail = h("p.detail.small");
  #under = h("div.row.small");
  #curve = h("figure.curve", { hidden: true });
  #error = h("p.error", { role: "alert", hidden: true });
  #hint = h("p.note.hint", { hidden: true }, "New to this? ", h("a", { href: "#lessons" }, "Take the first tour"), ": six things to do with a sentence of your own, in two minutes.");

  get store() {
    return this.app.store;
  }

  get keys() {
    return exploreKeys(this);
  }

  async connectedCallback() {
    if (this.firstChild) return;
    sheet("chain/view.css");
    sheet("tree/view.css");
    this.editor.backend = this.app.backend;
    this.editor.chatAllowed = Boolean(this.app.info.has_chat_template);
    this.chain.app = this.tree.app = this.app;
    fill(this,
      h("section.instrument", { "aria-label": "the text" }, this.text, this.editor, this.#tools, this.play.element, this.#hint, this.#error),
      h("div.halves", {},
        h("section.gap", { "aria-label": "what may come next" }, this.#heading, this.guess.element, this.#table, this.#detail, this.#under, this.entry.element, this.#curve),
        this.chain),
      this.tree);
    this.#wire();
    this.#hint.hidden = !this.app.offers("lessons");
    await this.open({ text: this.app.info.default_prompt, chat: false });
  }

  /** @param {{prompt?: string} | null} args */
  show(args) {
    if (args?.prompt !== undefined) this.open({ text: args.prompt, chat: false });
  }

  /** @param {{text: string, chat: boolean}} prompt */
  open(prompt) {
    this.#prompt = prompt;
    const asked = prompt.chat ? { messages: [{ role: "user", content: prompt.text }] } : { prompt: prompt.text };
    return this.store.open(asked);
  }

  /** The table on the screen: of the place that is looked at, else of the end. */
  get next() {
    return this.place?.next ?? this.store.state.next;
  }

  // -------------------------------------------------------------------------------------------- moves

  /** The token before which moves begin: pressed or focused. Where the pointer merely rests does not count. */
  get anchor() {
    return this.pinned ?? this.text.focusedIndex;
  }

  /** The rows that keys choose from. */
  get choices() {
    return (this.anchor === this.place?.index ? this.next : this.store.state.next).rows;
  }

  /** Append a row of the table that is shown; at an earlier place that begins a branch there. */
  async pick(row) {
    if (row && await this.back()) await this.store.act("step", { token: row.id });
  }

  async best() {
    this.play.stop();
    const { pick, rows } = this.store.state.next;
    if (this.anchor !== null) return this.pick(this.choices[0]);
    if (pick && pick.origin === "greedy") return this.store.act("step");
    return this.pick([...rows].sort((a, b) => b.p_final - a.p_final)[0]);
  }

  async draw() {
    if (!await this.back()) return;
    if (await this.store.draws()) announce("sampling is on from now on: space draws, enter still takes the best");
    await this.store.act("step");
  }

  async undo() {
    this.play.stop();
    if (!this.store.state.can_undo) return;
    this.text.threaten(1);
    await new Promise((resolve) => setTimeout(resolve, matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 140));
    await this.store.act("undo");
  }

  async reroll() {
    if (this.store.state.last?.origin !== "sampled") return;
    await this.store.act("undo");
    await this.store.act("step", { reroll: true });
  }

  /** Go back to before the token that is looked at; what stood there stays as a branch. */
  async back() {
    this.play.stop();
    const at = this.anchor;
    this.pinned = this.place = null;
    this.text.mark(null);
    if (at === null) return true;
    const { tokens } = this.store.state;
    if (at === 0) return this.#fail({ message: "nothing stands before the first token; edit the prompt instead" });
    if (tokens[at].is_prompt) return this.store.open({ ids: tokens.slice(0, at).map((each) => each.id) });
    return this.store.act("goto", { node: tokens[at - 1].node });
  }

  edit() {
    const { state } = this.store;
    const chat = this.#prompt.chat;
    this.text.hidden = true;
    this.editor.hidden = false;
    this.#edit = { text: chat ? this.#prompt.text : state.text, chat };
    this.editor.begin(this.#edit);
  }

  #edited = ({ detail: { text, chat } }) => {
    if (text !== this.#edit.text || chat !== this.#edit.chat) this.open(this.#edit = { text, chat });
  };

  #done() {
    this.editor.end();
    this.editor.hidden = true;
    this.text.hidden = false;
    this.#edited({ detail: this.editor.value });
  }

  release() {
    this.play.stop();
    this.chain.close();
    this.tree.close();
    this.pinned = null;
    this.text.release();
  }

  // ------------------------------------------------------------------------------------------ wiring

  #wire() {
    this.store.addEventListener("state", (/** @type {any} */ event) => this.#arrived(event.detail));
    this.store.addEventListener("failed", (/** @type {any} */ event) => this.#failed(event.detail));
    this.store.addEventListener("working", () => this.store.state && this.drawTools());
    this.text.addEventListener("look", (/** @type {any} */ event) => this.#look(event.detail ?? this.pinned));
    this.text.addEventListener("pin", (/** @type {any} */ event) => this.#pin(event.detail));
    this.text.addEventListener("edit", () => this.edit());
    this.editor.addEventListener("text", /** @type {any} */ (this.#edited));
    this.editor.addEventListener("done", () => this.#done());
  }

  /** @param {{op: string, state: any, before: any}} detail */
  #arrived({ op, state, before }) {
    this.ghost = op === "set" ? this.chain.before ?? before?.next : null;
    this.pinned = this.place = null;
    this.#error.hidden = true;
    this.editor.problem(null);
    this.text.draw(state, this.marks);
    this.drawTable();
    this.drawTools();
    this.guess.moved(op);
    this.play.moved(op);
    if (op !== "open") this.#hint.hidden = true;
    this.entry.moved();
    this.app.refreshKeys();
    announce(sentence(op, state, before));
    if (op === "open") this.#scorePrompt(state.session);
  }

  /** The prompt's own surprisals, after the table is there. */
  async #scorePrompt(/** @type {string} */ session) {
    if (!this.app.backend.can("surprisal") || this.store.state.tokens.length < 2) return;
    try {
      const { rows } = await this.store.ask("surprisal");
      if (this.store.state.session !== session) return;
      for (const row of rows) Object.assign(this.store.state.tokens[row.position], row);
      this.text.draw(this.store.state, this.marks);
    } catch { /* the underlines are missing then; everything else is there */ }
  }

  /** @param {{op: string, error: any}} detail */
  #failed({ op, error }) {
    if (op === "set") return;  // said by the control that caused it
    if (error.name === "NoSession" && this.store.state) {  // the server let it go, or began anew: the text is still here
      this.store.open({ ids: this.store.state.tokens.map((each) => each.id) });
      return;
    }
    if (op === "open" && !this.editor.hidden) this.editor.problem(error.message);
    else this.#fail(error);
  }

  #fail(/** @type {{message: string}} */ error) {
    this.#error.hidden = false;
    this.#error.textContent = error.message;
    return null;
  }

  #pin(/** @type {number | null} */ index) {
    this.pinned = index;
    this.text.mark(index);
    this.drawTable();
    this.#look(index);
  }

  /** Show what the model expected where a token stands. */
  #look = latest(async (/** @type {number | null} */ index) => {
    if (index === (this.place?.index ?? null)) return;
    if (index === null || index === 0) {
      this.place = null;
      return this.drawTable();
    }
    try {
      const found = await this.store.ask("at", { position: index - 1, n: this.store.rows });
      this.place = { index, next: found.next, came: found.came };
      this.drawTable();
      this.app.refreshKeys();
    } catch (error) {
      if (!isAbort(error)) this.#fail(/** @type {any} */ (error));
    }
  });

  // ----------------------------------------------------------------------------------------- drawing

  drawTable() {
    const { state } = this.store;
    if (!state) return;
    const hidden = this.guess.hides && !this.place;
    fill(this.#heading, title(this), hidden ? null : h("p.note", {}, facts(this.next)));
    this.#chainLater();
    this.chain.classList.toggle("guessing", hidden);
    this.#table.hidden = this.#detail.hidden = this.#under.hidden = hidden;
    if (hidden) {
      this.#curve.hidden = true;
      return;
    }
    fill(this.#table, state.finish_reason && !this.place ? ended(state) : nextTable({
      next: this.next, ghost: this.place ? null : this.ghost, mark: this.#mark(), zoom: this.zoom,
      onPick: (row) => this.pick(row), onDetails: (row) => fill(this.#detail, details(row)),
    }));
    const first = this.place?.came ?? this.next.rows[0];
    fill(this.#detail, first ? details(first) : null);
    this.#drawUnder();
    this.drawCurve();
  }

  #chainLater = afterPaint(() => this.chain.draw(this.store.state, this.place));

  #mark() {
    if (this.place) return this.place.came && { id: this.place.came.id, why: "came" };
    return this.guess.guessed === null ? null : { id: this.guess.guessed, why: "your guess" };
  }

  #drawUnder() {
    fill(this.#under,
      button("more rows", () => this.setRows(Math.min(MOST_ROWS, this.store.rows * 2)), { disabled: this.store.rows >= MOST_ROWS }),
      this.store.rows > 10 ? button("fewer", () => this.setRows(10)) : null,
      button("zoom the bars", () => { this.zoom = !this.zoom; this.drawTable(); }, { "aria-pressed": String(this.zoom) }),
      button("curve of all tokens", () => this.toggleCurve(), { "aria-expanded": String(this.curveOpen) }),
      button("look up a token", () => this.entry.ask("look")),
      button("type a token", () => this.entry.ask("type")));
  }

  async setRows(/** @type {number} */ rows) {
    this.store.rows = rows;
    if (this.place) {
      const found = await this.store.ask("at", { position: this.place.index - 1, n: rows });
      this.place = { ...this.place, next: found.next };
      this.drawTable();
    } else await this.store.act("state");
  }

  toggleCurve() {
    this.curveOpen = !this.curveOpen;
    this.drawTable();
  }

  drawCurve = latest(async () => {
    this.#curve.hidden = !this.curveOpen;
    if (!this.curveOpen) return;
    try {
      fill(this.#curve, drawCurve(await this.store.ask("curve", this.place ? { position: this.place.index - 1 } : {})));
    } catch (error) {
      fill(this.#curve, h("p.error", {}, /** @type {Error} */ (error).message));
    }
  });

  toggleMarks() {
    this.marks = !this.marks;
    this.text.draw(this.store.state, this.marks);
    this.drawTools();
  }

  drawTools() {
    fill(this.#tools, tools(this));
  }

  /** Another view is shown: nothing goes on unseen. */
  hide() {
    this.#hint.hidden = true;
    this.play.stop();
  }
}

customElements.define("tg-explore", Explore);
