/**
 * Tokens on the screen. The display text comes from the server, made safe there: white space is `·` `⏎` `⇥`,
 * a byte that is half a character is `⟨E2⟩`, what cannot be seen is its name or code point. Here it only gets a
 * shape: signs fainter than letters, chips for bytes, a bracket that joins the tokens of one character.
 *
 * @typedef {object} TokenRow
 * @property {number} id
 * @property {string} token safe display text
 * @property {string} [bytes] hexadecimal
 * @property {string} [kind] "normal", "control", "byte" or "unknown"
 * @property {{first: number, last: number, token: string} | null} [group] for pieces of one character: which
 *   tokens, and the character's display text
 */

import { h } from "./dom.js";

const PIECES = /(·+|⏎|⇥|⟨[^⟩]*⟩)/;

/**
 * A token's display text with its signs marked; for a table cell, a chip, a sentence.
 *
 * @param {TokenRow | string} token
 * @param {Record<string, any>} [props]
 * @returns {HTMLElement}
 */
export function glyphs(token, props = {}) {
  const text = typeof token === "string" ? token : token.token;
  const kind = typeof token === "string" ? "normal" : token.kind ?? "normal";
  const parts = text.split(PIECES).filter(Boolean).map(piece);
  return h("bdi.glyphs", { "data-kind": kind, ...props }, parts);
}

/**
 * A token inside running text: its spaces are spaces, so that lines break and copies paste as the text would; the
 * dots appear where the style sheet wants them.
 *
 * @param {TokenRow} token
 * @param {Record<string, any>} [props]
 */
export function prose(token, props = {}) {
  const parts = token.token.split(PIECES).filter(Boolean).map((text) => (text[0] === "·" ? h("span.blank", {}, " ".repeat(text.length)) : piece(text)));
  return h("bdi.glyphs.prose", { "data-kind": token.kind ?? "normal", ...props }, parts);
}

/**
 * The token as a chip that can be focused and pressed, to stand in a line of text.
 *
 * @param {TokenRow} token
 * @param {Record<string, any>} [props] on the button
 */
export function chip(token, props = {}) {
  return h("button.chip", { type: "button", "data-kind": token.kind ?? "normal", "data-id": token.id, ...props }, glyphs(token));
}

/**
 * Elements of tokens in a row, those of one character joined by a bracket.
 *
 * @template {TokenRow} T
 * @param {T[]} tokens
 * @param {(token: T, index: number) => HTMLElement} draw
 * @returns {HTMLElement[]}
 */
export function joined(tokens, draw) {
  /** @type {HTMLElement[]} */
  const out = [];
  /** @type {HTMLElement | null} */
  let bracket = null;
  tokens.forEach((token, index) => {
    const drawn = draw(token, index);
    if (!token.group) return void out.push(drawn);
    if (bracket && tokens[index - 1]?.group?.first === token.group.first) return void bracket.append(drawn);
    bracket = h("span.bracket", { title: `these tokens form ${token.group.token} together`, dataset: { formed: token.group.token } }, drawn);
    out.push(bracket);
  });
  return out;
}

/**
 * A token in words, for a screen reader and for sentences: "·like" -> "' like'".
 *
 * @param {TokenRow | string} token
 */
export function spoken(token) {
  const text = typeof token === "string" ? token : token.token;
  return `'${text.replaceAll("·", " ").replaceAll("⏎", "newline").replaceAll("⇥", "tab").replaceAll(/[⟨⟩]/g, "")}'`;
}

/** Bytes as people read them: "e282ac" -> "E2 82 AC". */
export function hexBytes(/** @type {string} */ bytes) {
  return (bytes.match(/../g) ?? []).join(" ").toUpperCase();
}

/** @param {string} text @returns {import("./dom.js").Child} */
function piece(text) {
  if (text[0] === "·") return [h("wbr"), h("span.sign.space", {}, text)];
  if (text === "⏎" || text === "⇥") return h("span.sign", {}, text);
  if (text[0] === "⟨") return h("span.byte", {}, text.slice(1, -1));
  return text;
}
