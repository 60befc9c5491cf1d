/** The text, token by token: what is hovered, focused or pressed tells which gap the rest of the page explains. */

import { focused, h } from "../lib/dom.js";
import { bits, percent } from "../lib/figures.js";
import { hexBytes, joined, prose, spoken } from "../lib/glyphs.js";

const DWELL = 90;  // ms on a token before its table is asked for, so that crossing the text asks for nothing

/**
 * Events: "look" (detail: index of a token, or null for the end), "pin" (the same, by press), "edit" (detail:
 * index to begin at).
 */
export class TextStrip extends HTMLElement {
  /** @type {any[]} */
  #tokens = [];
  /** @type {number | null} */
  #pinned = null;
  #timer = 0;
  #strip = h("div.strip", { role: "group", tabindex: "-1", "aria-label": "the text, token by token; arrow keys move along it" });

  connectedCallback() {
    if (this.firstChild) return;
    this.append(this.#strip);
    this.#strip.addEventListener("pointerover", (event) => this.#dwell(this.#indexOf(event)));
    this.#strip.addEventListener("pointerleave", () => this.#dwell(null));
    this.#strip.addEventListener("focusin", (event) => this.#dwell(this.#indexOf(event)));
    this.#strip.addEventListener("focusout", () => this.#dwell(null));
    this.#strip.addEventListener("click", (event) => this.#press(event));
    this.#strip.addEventListener("keydown", (event) => this.#key(event));
    this.#strip.addEventListener("dblclick", (event) => this.#tell("edit", this.#indexOf(event)));
  }

  /** @param {any} state @param {boolean} marks whether ids and bytes stand below each token */
  draw(state, marks) {
    const hadFocus = this.#strip.contains(focused());
    const kept = this.#strip.classList.contains("marks") === marks ? common(this.#tokens, state.tokens) : 0;
    this.#tokens = state.tokens.map((token) => ({ ...token }));  // rows get their surprisal later
    this.#strip.classList.toggle("marks", marks);
    this.#strip.classList.toggle("dots", marks);
    const fresh = state.tokens.length - 1;
    for (const child of [...this.#strip.children]) if (!(firstIndex(child) < kept)) child.remove();
    const drawn = joined(state.tokens.slice(kept), (/** @type {any} */ token, index) => this.#token(token, kept + index, marks, kept + index === fresh && !token.is_prompt));
    this.threaten(0);
    this.#strip.append(...drawn, h("span.caret", { "aria-hidden": "true" }));
    if (hadFocus) this.#strip.focus({ preventScroll: true });  // on no token: the page is about the end again
    this.mark(this.#pinned !== null && this.#pinned < this.#tokens.length ? this.#pinned : null);
  }

  /** Show which token the page is about; null is the gap at the end. */
  mark(/** @type {number | null} */ index) {
    this.#pinned = index;
    for (const each of this.#strip.querySelectorAll(".tok")) {
      const found = /** @type {HTMLElement} */ (each);
      found.classList.toggle("asked", Number(found.dataset.index) === index);
      found.setAttribute("aria-pressed", String(Number(found.dataset.index) === index));
      found.tabIndex = Number(found.dataset.index) === (index ?? this.#tokens.length - 1) ? 0 : -1;
    }
  }

  /** Show what an undo would take away, before it does. */
  threaten(/** @type {number} */ count) {
    const from = this.#tokens.length - count;
    for (const each of this.#strip.querySelectorAll(".tok")) {
      each.classList.toggle("going", Number(/** @type {HTMLElement} */ (each).dataset.index) >= from);
    }
  }

  /** Move the focus along the text. */
  move(/** @type {number} */ by) {
    const at = this.focusedIndex ?? this.#pinned ?? this.#tokens.length;
    this.#focus(Math.max(0, Math.min(this.#tokens.length - 1, at + by)));
  }

  /** Forget which token was asked about and stand at the end. */
  release() {
    if (this.#strip.contains(focused())) /** @type {HTMLElement} */ (focused()).blur();
    this.#dwell(null);
    this.#tell("pin", null);
  }

  /** @param {any} token @param {number} index @param {boolean} marks @param {boolean} fresh */
  #token(token, index, marks, fresh) {
    const under = marks ? h("small.under", {}, h("span", {}, token.id), h("span", {}, hexBytes(token.bytes))) : null;
    const element = h("span.tok", {
      role: "button", tabindex: "-1", "aria-pressed": "false",
      "aria-label": marks ? null : describe(token, index),
      title: describe(token, index),
      "data-index": index, "data-kind": token.kind,
      class: [token.is_prompt ? "" : "written", token.template ? "template" : "", fresh ? "fresh" : ""].join(" "),
      style: { "--bits": weight(token.surprisal_bits) },
    }, prose(token), under);
    if (token.token.includes("⏎") && !marks) element.append(h("br"));
    return element;
  }

  /** @param {Event} event */
  #indexOf(event) {
    const found = /** @type {HTMLElement} */ (event.target).closest?.(".tok");
    return found ? Number(/** @type {HTMLElement} */ (found).dataset.index) : null;
  }

  /** The token that has the focus, or null. */
  get focusedIndex() {
    const at = /** @type {HTMLElement | null} */ (focused());
    return at && this.#strip.contains(at) && at.dataset.index !== undefined ? Number(at.dataset.index) : null;
  }

  #focus(/** @type {number} */ index) {
    const found = /** @type {HTMLElement | null} */ (this.#strip.querySelector(`[data-index="${index}"]`));
    found?.focus();
  }

  #dwell(/** @type {number | null} */ index) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tell("look", index), DWELL);
  }

  #press(/** @type {Event} */ event) {
    const index = this.#indexOf(event);
    if (index === null) this.#tell("edit", null);
    else this.#tell("pin", this.#pinned === index ? null : index);
  }

  #key(/** @type {KeyboardEvent} */ event) {
    const ends = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 });
    if (event.key in ends) this.move(ends[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.#press(event);
    else return;
    event.preventDefault();
  }

  #tell(/** @type {string} */ name, /** @type {number | null} */ index) {
    this.dispatchEvent(new CustomEvent(name, { detail: index }));
  }
}

/** How many tokens at the beginning may stay as they are drawn; never half of a character. @param {any[]} before @param {any[]} after */
function common(before, after) {
  const same = (a, b) => b && a.id === b.id && a.node === b.node && a.surprisal_bits === b.surprisal_bits && a.group?.last === b.group?.last;
  let kept = 0;
  while (kept < after.length && same(after[kept], before[kept])) kept++;
  while (kept > 0 && after[kept - 1].group && after[kept - 1].group.last >= kept) kept--;
  return kept;
}

/** Index of the first token in a child of the strip; NaN for the caret. */
function firstIndex(/** @type {Element} */ child) {
  const token = /** @type {HTMLElement | null} */ (child.matches(".tok") ? child : child.querySelector(".tok"));
  return Number(token?.dataset.index ?? NaN);
}

/** Underline in hundredths of an em: nothing for what was expected, thick for what was not. */
function weight(/** @type {number | null} */ surprise) {
  return surprise === null || surprise === undefined ? 0 : Math.min(16, Math.max(0.5, surprise)) / 100;
}

/** @param {any} token @param {number} index */
function describe(token, index) {
  const known = token.p === null || token.p === undefined ? "" : `, ${percent(token.p)}, ${bits(token.surprisal_bits)}`;
  return `token ${index + 1}: ${spoken(token)}, id ${token.id}, bytes ${hexBytes(token.bytes)}${known}${token.is_prompt ? "" : ", written"}`;
}

customElements.define("tg-text", TextStrip);
