/** What happened, in words. */

import { h } from "../lib/dom.js";
import { bits, count, ordinal, percent } from "../lib/figures.js";
import { glyphs, spoken } from "../lib/glyphs.js";

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

/**
 * Why playing ended, in words from the numbers of the place where it stands.
 *
 * @param {any} end the state, with `paused` and `seen` @param {{entropy?: number, top?: number}} asked @param {number} written
 */
export function paused(end, asked, written) {
  const after = `after ${count(written, "token")}`;
  if (end.finish_reason) return `The text has ended (${end.finish_reason}) ${after}.`;
  if (end.paused === "entropy") return `Paused ${after}: the model is unsure what comes next, ${bits(end.next.entropy_bits)} of entropy; you asked for a pause at ${asked.entropy} bits or more. Take a token, or play on.`;
  if (end.paused === "watched" && end.seen) {
    const { rank, p } = end.seen;
    return [`Paused ${after}: `, glyphs(end.seen), ` is the ${rank === 1 ? "" : `${ordinal(rank)} `}likeliest here, ${percent(p)}; you asked for a pause when it is among the best ${asked.top}. Take a token, or play on.`];
  }
  return end.paused === "stopped" ? `Stopped ${after}.` : `${count(written, "token")} written.`;
}
