/** When playing pauses by itself: the reader's wishes as a small form, and as parameters of `play`. */

import { button, fill, h } from "../lib/dom.js";
import { cut } from "./entry.js";

const MOST_TOKENS = 1024, COUNT = 20, TOP = 5;

export class Pauses {
  #backend;
  #count = number("at most tokens", COUNT, { min: 1, max: MOST_TOKENS });
  #entropy = number("entropy in bits", "", { min: 0, max: 64, step: "any", placeholder: "–" });
  #token = /** @type {HTMLInputElement} */ (h("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "–", "aria-label": "a token to wait for", "data-key": "watch" }));
  #top = number("among how many", TOP, { min: 1, max: 1000 });
  #submit = h("button.primary", { type: "submit" }, "play");
  #error = h("p.error", { role: "alert", hidden: true });

  /**
   * @param {() => import("../lib/backend.js").Backend} backend
   * @param {() => void} play
   * @param {() => void} closed
   */
  constructor(backend, play, closed) {
    this.#backend = backend;
    this.element = /** @type {HTMLElement} */ (h("form.pauses.panel.row.small", { hidden: true, "aria-label": "when playing pauses", onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); play(); } },
      h("span", {}, "play at most ", this.#count, " tokens, and pause when"),
      h("span", {}, "the entropy is ", this.#entropy, " bits or more"),
      h("span", {}, "or ", this.#token, " is among the best ", this.#top),
      this.#submit, button("close", closed, { "class": "plain" }), this.#error));
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      closed();
    });
  }

  /** @param {boolean} open */
  show(open) {
    this.element.hidden = !open;
    if (open) this.#entropy.focus();
  }

  playing(/** @type {boolean} */ on) {
    this.#submit.textContent = on ? "stop" : "play";
  }

  /** What `play` is asked for; null where a field is wrong, which is said beside it. */
  async asked() {
    this.#fail("");
    if (![this.#count, this.#entropy, this.#top].every((input) => input.reportValidity())) return null;
    try {
      const text = this.#token.value, entropy = this.#entropy.value;
      return {
        count: Number(this.#count.value),
        ...(entropy === "" ? {} : { entropy: Number(entropy) }),
        ...(text === "" ? {} : { watch: await this.#watched(text), top: Number(this.#top.value) }),
      };
    } catch (error) {
      this.element.hidden = false;
      this.#fail(/** @type {Error} */ (error).message);
      return null;
    }
  }

  /** The ids of a text with and without a space before it, those that are one token. @param {string} text */
  async #watched(text) {
    const found = await Promise.all((text.startsWith(" ") ? [text] : [` ${text}`, text]).map((each) => cut(this.#backend(), each)));
    const ids = found.flatMap(({ id }) => (id === null ? [] : [id]));
    if (!ids.length) throw new Error(`“${text}” is ${found[0].tokens.length} tokens (${found[0].tokens.map((each) => each.token).join(" ")}); name one of them`);
    return [...new Set(ids)];
  }

  #fail(/** @type {string} */ message) {
    fill(this.#error, message);
    this.#error.hidden = !message;
  }
}

/** @param {string} label @param {number | ""} value @param {Record<string, any>} props */
function number(label, value, props) {
  return /** @type {HTMLInputElement} */ (h("input.figure", { type: "number", value, "aria-label": label, "data-key": label, ...props, ...(value === "" ? {} : { required: true }) }));
}
