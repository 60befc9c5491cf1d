/** Writing on by itself, token after token, until it is stopped, enough was written, or a step is worth a look. */

import { announce } from "../lib/announce.js";
import { fill, h } from "../lib/dom.js";
import { surprisal } from "../lib/figures.js";
import { Pauses } from "./pauses.js";
import { paused } from "./told.js";

export class Play {
  #view;
  #running = false;
  #stopping = false;
  /** @type {number | null} the place that the last play paused at, from which the next goes on */
  #at = null;
  #told = h("p.note.played", { hidden: true });
  #pauses = new Pauses(() => this.#view.app.backend, () => this.toggle(), () => this.#show(false));

  /** @param {import("./view.js").Explore} view */
  constructor(view) {
    this.#view = view;
    this.element = h("div.stack", {}, this.#pauses.element, this.#told);
  }

  get on() {
    return this.#running;
  }

  /** Whether its conditions are on the screen. */
  get open() {
    return !this.#pauses.element.hidden;
  }

  /** No token follows the one that is under way. It is asked for, not hung up: so the last token is known. */
  stop() {
    if (!this.#running) return;
    this.#stopping = true;
    this.#view.store.ask("stop").catch(() => {});  // the stream itself says what is wrong
  }

  /** Show or hide the conditions under which it pauses. */
  conditions() {
    this.#show(!this.open);
  }

  /** The session went on another way: what was said of the last play is past. @param {string} op */
  moved(op) {
    if (op !== "play") this.#tell("");
  }

  async toggle() {
    if (this.#running) return this.stop();
    this.#running = true;
    this.#stopping = false;
    this.#draw();
    const asked = await this.#pauses.asked();
    if (asked && !this.#stopping) await this.#play(asked);
    this.#running = false;
    this.#draw();
  }

  #draw() {
    this.#pauses.playing(this.on);
    this.#view.drawTools();
  }

  /** @param {{count: number, entropy?: number, watch?: (number | string)[], top?: number}} asked */
  async #play(asked) {
    const { store } = this.#view;
    const before = store.state.tokens.length;
    // it paused here: going on means past this place, where it would pause again at once
    if (this.#at === store.state.node && !await store.act("step")) return;
    const count = asked.count - (store.state.tokens.length - before);
    const onItem = (/** @type {any} */ event) => this.#wrote(event.detail.item);
    store.addEventListener("item", onItem);
    const goesOn = count > 0 && !store.state.finish_reason && !this.#stopping;
    const end = goesOn ? await store.play("play", { ...asked, count }) : store.state;
    store.removeEventListener("item", onItem);
    this.#at = end && ["entropy", "watched"].includes(end.paused) ? end.node : null;
    if (end) this.#tell(paused(end, asked, store.state.tokens.length - before));
  }

  #tell(/** @type {any} */ said) {
    fill(this.#told, said);
    this.#told.hidden = !said;
    if (said) announce(this.#told.textContent ?? "");
  }

  #show(/** @type {boolean} */ open) {
    this.#pauses.show(open);
    this.#view.drawTools();
    if (!open) /** @type {HTMLElement | null} */ (this.#view.querySelector("[data-key=pauses]"))?.focus();
  }

  /** Show a token at once; the whole state comes at the end. */
  #wrote({ node, step, next }) {
    const { state } = this.#view.store;
    if (this.#stopping) this.stop();  // the wish came before the stream had begun
    if (!step) return;
    state.tokens.push({ ...step, node, is_prompt: false, group: null, surprisal_bits: step.p === null ? null : surprisal(step.p) });
    state.next = next;
    this.#view.text.draw(state, this.#view.marks);
    this.#view.drawTable();
  }
}
