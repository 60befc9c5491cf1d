/** What happened, in words. */

import { h } from "../lib/dom.js";
import { count, percent } from "../lib/figures.js";
import { spoken } from "../lib/glyphs.js";

/** In place of the table where nothing comes next. @param {any} state */
export function ended(state) {
  return h("p.note", {}, `The text has ended (${state.finish_reason}). Undo, or take a token from the table of an earlier place.`);
}

/** What a move did, for a screen reader. @param {string} op @param {any} state @param {any} before */
export function sentence(op, state, before) {
  const best = state.next.rows[0];
  const then = best ? `; next best ${spoken(best)}, ${percent(best.p)}` : "";
  const last = state.tokens.at(-1);
  if (op === "step") return `appended ${spoken(last)}, ${percent(last.p)}${then}`;
  if (op === "undo") return `took back ${spoken(before.tokens.at(-1))}${then}`;
  if (op === "redo") return `brought back ${spoken(last)}${then}`;
  if (op === "open") return `${count(state.tokens.length, "token")}${then}`;
  return `now after ${spoken(last)}${then}`;
}
