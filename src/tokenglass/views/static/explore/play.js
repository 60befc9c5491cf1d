/** Writing on by itself, token after token, until it is stopped or enough was written. */

import { announce } from "../lib/announce.js";
import { surprisal } from "../lib/figures.js";

const COUNT = 20;

export class Play {
  #view;
  /** @type {AbortController | null} */
  #running = null;

  /** @param {import("./view.js").Explore} view */
  constructor(view) {
    this.#view = view;
  }

  get on() {
    return this.#running !== null;
  }

  stop() {
    this.#running?.abort();
  }

  async toggle() {
    if (this.#running) return this.stop();
    const { store } = this.#view;
    const running = this.#running = new AbortController();
    const onItem = (event) => this.#wrote(event.detail.item);
    store.addEventListener("item", onItem);
    this.#view.drawTools();
    const found = await store.play("play", { count: COUNT }, running.signal);
    store.removeEventListener("item", onItem);
    this.#running = null;
    if (found) announce(found.reason);
    if (running.signal.aborted) await store.act("state");  // what was written until then
    else this.#view.drawTools();
  }

  /** Show a token at once; the whole state comes at the end. */
  #wrote({ node, step, next }) {
    const { state } = this.#view.store;
    if (!step) return;
    state.tokens.push({ ...step, node, is_prompt: false, group: null, surprisal_bits: step.p === null ? null : surprisal(step.p) });
    state.next = next;
    this.#view.text.draw(state, this.#view.marks);
    this.#view.drawTable();
  }
}
