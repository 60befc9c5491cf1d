/** Work that a reader starts and may stop: one at a time, its error beside the button, what came so far kept. */

import { isAbort } from "../lib/backend.js";
import { button, fill, h } from "../lib/dom.js";

/**
 * @typedef {object} Labels
 * @property {string} go on the button
 * @property {string} [key] its key, shown on it
 */

export class Run {
  /** @type {AbortController | null} */
  #control = null;
  #labels;
  #work;
  #after;

  /**
   * @param {Labels} labels
   * @param {(signal: AbortSignal) => Promise<void>} work
   * @param {(how: "done" | "stopped" | "failed") => void} [after]
   */
  constructor(labels, work, after = () => {}) {
    this.#labels = labels;
    this.#work = work;
    this.#after = after;
    this.button = button(labels.go, () => this.toggle(), { class: "primary" });
    this.status = h("span.note", { role: "status" });
    this.error = h("p.error", { role: "alert", hidden: true });
  }

  get busy() {
    return this.#control !== null;
  }

  toggle() {
    if (this.busy) this.stop();
    else this.start();
  }

  stop() {
    this.#control?.abort();
  }

  /** Start; what was at work before is given up. */
  async start() {
    this.stop();
    const control = (this.#control = new AbortController());
    this.fail("");
    this.#draw();
    this.say(h("span.busy", {}, "at work …"));
    /** @type {"done" | "stopped" | "failed"} */
    let how = "done";
    try {
      await this.#work(control.signal);
    } catch (error) {
      how = isAbort(error) ? "stopped" : "failed";
      if (how === "failed" && this.#control === control) this.fail(/** @type {Error} */ (error).message);
    }
    if (this.#control !== control) return;
    this.#control = null;
    if (this.status.querySelector(".busy") || how === "failed") this.say(how === "stopped" ? "stopped" : "");
    this.#draw();
    this.#after(how);
  }

  /** Say what went wrong, or with "" that nothing did. */
  fail(/** @type {string} */ message) {
    fill(this.error, message);
    this.error.hidden = !message;
  }

  say(/** @type {import("../lib/dom.js").Child[]} */ ...children) {
    fill(this.status, ...children);
  }

  #draw() {
    fill(this.button, this.busy ? "stop" : this.#labels.go);
    this.button.classList.toggle("primary", !this.busy);
  }
}
