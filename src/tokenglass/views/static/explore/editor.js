/** The prompt, edited where it stands and cut into tokens while it is typed. */

import { fill, h } from "../lib/dom.js";
import { count } from "../lib/figures.js";
import { latest } from "../lib/latest.js";

const PAUSE = 220;  // ms without typing before the model reads the new text

/**
 * Events: "text" (detail: {text, chat}) after a pause in typing, "done" when the reader leaves.
 */
export class PromptEditor extends HTMLElement {
  /** @type {import("../lib/backend.js").Backend} */
  backend = /** @type {any} */ (undefined);
  #area = /** @type {HTMLTextAreaElement} */ (h("textarea", { rows: 1, spellcheck: "false", autocomplete: "off", "aria-label": "the prompt", "aria-describedby": "prompt-facts" }));
  #mirror = h("div.mirror", { "aria-hidden": "true" });
  #facts = h("p.note", { id: "prompt-facts" });
  #chat = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox" }));
  #error = h("p.error", { role: "alert", hidden: true });

  connectedCallback() {
    if (this.firstChild) return;
    this.#area.addEventListener("input", () => this.#typed());
    this.#chat.addEventListener("change", () => this.#typed());
    this.#area.addEventListener("keydown", (event) => {
      if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey && !event.isComposing)) {
        event.preventDefault();
        this.#tell("done");
      }
    });
    this.append(h("div.editor", {}, this.#mirror, this.#area), this.#error,
      h("div.row", {}, this.#facts,
        h("label.small.push", { hidden: !this.chatAllowed }, this.#chat, "as a chat message"),
        h("button.primary", { type: "button", onclick: () => this.#tell("done") }, "done")));
  }

  chatAllowed = false;

  /** @param {{text: string, chat: boolean}} prompt @param {number} [caret] in characters */
  begin({ text, chat }, caret = text.length) {
    this.#area.value = text;
    this.#chat.checked = chat;
    this.problem(null);
    this.#tokenize(text, chat);
    this.#area.focus();
    this.#area.setSelectionRange(caret, caret);
  }

  /** Give the focus away; the page's keys are its own again. */
  end() {
    this.#area.blur();
  }

  /** Say what is wrong with the text, beside it. */
  problem(/** @type {string | null} */ message) {
    this.#error.hidden = message === null;
    this.#error.textContent = message ?? "";
  }

  get value() {
    return { text: this.#area.value, chat: this.#chat.checked };
  }

  #typed() {
    const { text, chat } = this.value;
    this.#paint(text, []);
    this.#tokenize(text, chat);
    this.#settled();
  }

  #settled = latest(async () => this.#tell("text"), PAUSE);

  #tokenize = latest(async (/** @type {string} */ text, /** @type {boolean} */ chat) => {
    try {
      const found = await this.backend.call("tokenize", { text });
      if (this.#area.value !== text) return;
      this.#paint(text, found.tokens);
      this.#facts.textContent = `${count(found.n_tokens, "token")} · ${count([...text].length, "character")}${chat ? " · the model's chat template adds its own" : ""} · enter when done, shift enter for a new line`;
    } catch (error) {
      this.problem(/** @type {Error} */ (error).message);
    }
  });

  /** The text again, below the one that is typed into, with a tint for every second token. */
  #paint(/** @type {string} */ text, /** @type {any[]} */ tokens) {
    const cuts = charactersOf(text, tokens);
    const parts = cuts.map(([from, to], index) => h("span", { class: index % 2 ? "odd" : "even" }, text.slice(from, to)));
    const end = cuts.length ? cuts[cuts.length - 1][1] : 0;
    fill(this.#mirror, parts, text.slice(end), "\u200b");  // keeps the last empty line open
  }

  #tell(/** @type {string} */ name) {
    this.dispatchEvent(new CustomEvent(name, { detail: this.value }));
  }
}

/**
 * Spans in bytes as spans in UTF-16 units; a cut inside a character is moved to its end.
 *
 * @param {string} text @param {{span: [number, number] | null}[]} tokens
 * @returns {[number, number][]} without empty ones
 */
export function charactersOf(text, tokens) {
  const ends = tokens.map((token) => token.span?.[1] ?? 0);
  /** @type {[number, number][]} */
  const found = [];
  let bytes = 0, unit = 0, from = 0, next = 0;
  for (const character of text) {
    const code = /** @type {number} */ (character.codePointAt(0));
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    unit += character.length;
    while (next < ends.length && ends[next] < bytes) next++;
    if (next < ends.length && ends[next] === bytes) {
      found.push([from, unit]);
      from = unit;
    }
  }
  return found;
}

customElements.define("tg-editor", PromptEditor);
