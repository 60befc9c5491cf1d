/** One text three times, one below the other, aligned by its bytes: words, tokens, letters. */

import { h } from "../lib/dom.js";
import { count, integer } from "../lib/figures.js";
import { glyphs, hexBytes, joined, spoken } from "../lib/glyphs.js";
import { fact } from "../parts/fields.js";

/** @param {any} cut what `words` answers @returns {Node[]} */
export function layers(cut) {
  if (!cut.words) return [h("div.token-row", {}, joined(cut.tokens, (token) => h("span.tile.of-token", { title: told(token) }, glyphs(token), h("small", {}, token.id))))];
  return [
    h("div.facts", {},
      fact(integer(cut.words.length), "words", "cut apart first; nothing is ever merged across these cuts"),
      fact(integer(cut.tokens.length), "tokens", "what the model reads: each a number of its list"),
      fact(integer(cut.characters.length), "letters and signs", `${count(cut.n_bytes, "byte")} in UTF-8`)),
    h("ul.blocks", { "aria-label": "the text, word by word" }, blocks(cut).map(block)),
    h("p.note", {}, "Why not words? There is no end to them, and a new one could not be written at all. Why not letters? A text would be several times as long, and each says little. Tokens lie between: common words are one, rare ones are put together."),
  ];
}

/** Words, and whatever lies outside of them, each with its tokens and letters. */
function blocks(cut) {
  const cuts = [...new Set([0, cut.n_bytes, ...cut.words.flatMap((word) => word.span)])].sort((a, b) => a - b);
  return cuts.slice(1).map((end, i) => {
    const start = cuts[i];
    const inside = (each) => each.span && each.span[0] >= start && each.span[1] <= end;
    return { start, end, word: cut.words.find((each) => each.span[0] === start && each.span[1] === end) ?? null,
      tokens: cut.tokens.filter(inside), characters: cut.characters.filter(inside) };
  });
}

/** @param {{start: number, end: number, word: any, tokens: any[], characters: any[]}} found */
function block({ start, end, word, tokens, characters }) {
  const place = (each, row) => ({ "grid-column": `${each.span[0] - start + 1} / ${each.span[1] - start + 1}`, "grid-row": row });
  const name = tokens.map((token) => spoken(token)).join(", ");
  return h("li.block", { "aria-label": `${word ? spoken(word) : "outside words"}: ${name}`, style: { "--n": end - start } },
    word ? h("span.tile.of-word", { style: place(word, 1), "aria-hidden": "true" }, glyphs(word)) : null,
    tokens.map((token) => h("span.tile.of-token", { style: place(token, 2), title: told(token) }, glyphs(token), h("small", {}, token.id))),
    characters.map((character) => h("span.tile.of-letter", { style: place(character, 3), "aria-hidden": "true" }, glyphs(character))));
}

function told(token) {
  return `token ${token.id}: ${spoken(token)}, bytes ${hexBytes(token.bytes)}${token.group ? `, part of ${token.group.token}` : ""}`;
}
