/**
 * Tokens as running text: spaces are spaces, so that lines break where they do in print; everything else that
 * cannot be seen keeps its sign.
 */

import { h } from "../lib/dom.js";

const PIECES = /(·+|⏎|⇥|⟨[^⟩]*⟩)/;
// What a screen would obey or not show: controls, formats, lone halves, odd separators.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/**
 * One token in running text.
 *
 * @param {string} shown its safe display text
 * @param {Record<string, any>} [props]
 */
export function word(shown, props = {}) {
  return h("bdi.word", props, shown.split(PIECES).filter(Boolean).map(piece));
}

/** A text as the reader typed it, with what cannot be seen as its code point. */
export function typed(/** @type {string} */ text) {
  return text.replace(UNSEEN, (found) => (found === "\n" ? "⏎\n" : `⟨U+${found.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}⟩`));
}

/**
 * A text beside another: what both share is dim, the first token that differs stands out.
 *
 * @param {any[]} steps @param {number} at index of that token @param {(step: any, index: number) => string} told
 * @param {boolean} [marks] false where the other has not come so far yet
 */
export function parted(steps, at, told, marks = true) {
  return steps.map((step, index) => word(step.token, { class: index < at ? "same" : index === at && marks ? "parting" : "", title: told(step, index) }));
}

/** The last characters of a display text, whole tokens only. */
export function ending(/** @type {string[]} */ tokens, /** @type {number} */ most) {
  let length = 0;
  let first = tokens.length;
  while (first > 0 && length + tokens[first - 1].length <= most) length += tokens[--first].length;
  first = Math.min(first, tokens.length - 1);
  return { cut: first > 0, tokens: tokens.slice(Math.max(0, first)) };
}

/** @param {string} text */
function piece(text) {
  if (text[0] === "·") return " ".repeat(text.length);
  if (text === "⏎") return [h("span.sign", {}, "⏎"), "\n"];
  if (text === "⇥") return h("span.sign", {}, "⇥ ");
  if (text[0] === "⟨") return h("span.byte", {}, text.slice(1, -1));
  return text;
}
