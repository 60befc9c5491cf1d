/** Probabilities as lengths: linear from nothing to one, so that two bars can be compared by eye. */

import { h } from "./dom.js";
import { percent } from "./figures.js";

/**
 * One row's bar.
 *
 * @param {object} shares each in [0, 1]; what is absent is not drawn
 * @param {number | null} [shares.model] the model's own probability
 * @param {number | null} [shares.final] after the chain; drawn below the model's own
 * @param {number | null} [shares.maybe] the most it may be after the chain, where only bounds are known
 * @param {number | null} [shares.ghost] the result before this one: a thin dashed mark
 * @param {number | null} [shares.rest] everything that is not shown
 * @param {number | null} [shares.removed] what a stage took away
 * @param {number} [scale] the share that fills the whole width; 1 unless the reader zoomed
 */
export function bars(shares, scale = 1) {
  const drawn = /** @type {[string, number][]} */ (Object.entries(shares).filter(([, p]) => typeof p === "number"));
  const two = typeof shares.model === "number" && typeof shares.final === "number";
  return h(two ? "span.bars.two" : "span.bars", { "aria-hidden": "true", title: described(drawn) },
    drawn.map(([of, p]) => h("i", { "data-of": p > 0 || of === "ghost" ? of : "nothing", style: { "--p": Math.min(1, p / scale) } })));
}

const WORDS = { model: "by the model", final: "after the chain", maybe: "at most", ghost: "before", rest: "all others", removed: "removed" };

/** @param {[string, number][]} drawn */
function described(drawn) {
  return drawn.map(([of, p]) => `${percent(p)} ${/** @type {any} */ (WORDS)[of]}`).join(", ");
}
