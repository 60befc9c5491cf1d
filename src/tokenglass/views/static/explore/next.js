/** What may come next: bars with numbers, and a row for all the rest, so that the sum is always whole. */

import { bars } from "../lib/bars.js";
import { button, h } from "../lib/dom.js";
import { term } from "../lib/explain.js";
import { bits, bounds, choices, integer, ordinal, percent, share } from "../lib/figures.js";
import { glyphs, hexBytes, spoken } from "../lib/glyphs.js";
import { table } from "../lib/table.js";

/**
 * @typedef {object} Shown
 * @property {any} next the table
 * @property {any} [ghost] the table before the last change
 * @property {{id: number, why: string} | null} [mark] a token to point at, and why
 * @property {boolean} zoom whether the longest bar fills the width
 * @property {(row: any) => void} onPick
 * @property {(row: any) => void} onDetails
 */

/** @param {Shown} shown */
export function nextTable(shown) {
  const { next } = shown;
  if (next.unknown) return h("p.note", {}, next.unknown);
  const chained = hasChain(next);
  const scale = shown.zoom ? longest(shown) : 1;
  const columns = [
    { name: "key", label: h("span.unseen", {}, "key"), align: /** @type {const} */ ("number") },
    { name: "token", label: "token", align: /** @type {const} */ ("text"), heads: true },
    { name: "bar", label: axis(scale, Boolean(shown.ghost)), align: /** @type {const} */ ("wide") },
    { name: "p", label: [chained ? h("i.swatch", { "data-of": "model", "aria-hidden": "true" }) : null, term("p", chained ? "the model" : "probability")], align: /** @type {const} */ ("number") },
    ...(chained ? [{ name: "final", label: [h("i.swatch", { "aria-hidden": "true" }), term("p_final", "after the chain")], align: /** @type {const} */ ("number") }] : []),
  ];
  const rows = [...next.rows.map((row, /** @type {number} */ index) => candidateRow(shown, row, index, scale, chained)), restRow(next, scale, chained)];
  return table({ caption: "likeliest next tokens", columns, rows }, { class: "next" });
}

/** What the table is about: what comes next, or what was expected at an earlier place. @param {import("./view.js").Explore} view */
export function title(view) {
  const { place, store, pinned } = view;
  if (!place) return h("h2", {}, "what comes next?");
  const token = store.state.tokens[place.index], { came } = place;
  return h("h2", {}, "what the model expected where ", glyphs(token), " stands ", came ? h("span.note", {}, `it was the ${came.rank === 1 ? "" : `${ordinal(came.rank)} `}likeliest, ${percent(came.p)} `) : null,
    pinned === null ? h("span.note", {}, "press the token to keep this") : [
      button("go back there", () => view.back(), { "class": "small" }), " ",
      button("to the end", () => view.release(), { "class": "small" })]);
}

/** How uncertain the model is, in one line. */
export function facts(next) {
  return [
    term("vocabulary", `${integer(next.vocab_size)} candidates`), " · ",
    term("entropy", bits(next.entropy_bits)), " · ",
    term("choices", choices(next.effective_choices)),
  ];
}

/** The numbers of one candidate, exactly. */
export function details(row) {
  const exact = (/** @type {number | null} */ value) => (value === null || value === undefined ? "unknown" : String(value));
  const after = row.p_final_range ? row.p_final_range.join(" to ") : exact(row.p_final);
  const pairs = [
    ["id", exact(row.id)], ["bytes", hexBytes(row.bytes)], ["rank", integer(row.rank)],
    ["p", exact(row.p)], ["logit", exact(row.logit)], ["logprob", exact(row.logprob)],
    ...(row.p_final === row.p ? [] : [["p after the chain", after]]),
  ];
  return [glyphs(row), ...pairs.map(([name, value]) => h("span", {}, h("span.soft", {}, `${name} `), h("span.mono", {}, value)))];
}

export function hasChain(next) {
  return next.stages.length > 1;
}

/** @param {Shown} shown @param {any} row @param {number} index @param {number} scale @param {boolean} chained */
function candidateRow(shown, row, index, scale, chained) {
  const before = shown.ghost?.rows.find((each) => each.id === row.id);
  const changed = before && Math.abs(before.p_final - (row.p_final ?? NaN)) > 1e-9;
  const gone = row.removed_by !== null;
  const [least, most] = bounds(row, "p_final");
  const label = `${spoken(row)}, ${percent(row.p)}${chained ? `, ${share(row, "p_final")} after the chain` : ""}`;
  const pick = h("button.token", {
    type: "button", "data-key": `row ${index}`, "aria-label": `append ${label}`,
    onclick: () => shown.onPick(row), onfocus: () => shown.onDetails(row),
  }, glyphs(row));
  return {
    token: [pick, gone ? h("span.fate", {}, fate(row)) : null, shown.mark?.id === row.id ? h("span.came", {}, `◂ ${shown.mark?.why}`) : row.recorded ? h("span.came", { title: "the recording went on here" }, "▸") : null],
    key: index < 9 ? h("kbd", {}, index + 1) : h("span.soft", {}, row.rank),
    bar: bars({ model: row.p, maybe: chained && most > least ? most : undefined, final: chained ? least : undefined, ghost: changed ? before.p_final : undefined }, scale),
    p: h("span", { title: String(row.p) }, percent(row.p)),
    final: chained ? h("span", { title: String(row.p_final ?? row.p_final_range) }, share(row, "p_final")) : null,
    class: [gone ? "removed" : "", shown.mark?.id === row.id ? "chosen" : ""].join(" "),
    props: { "data-token": row.id, onpointerenter: () => shown.onDetails(row) },
  };
}

/** "removed by top_p" in few words. */
function fate(row) {
  const rank = row.removed?.rank;
  return `✕ ${row.removed_by}${rank === null || rank === undefined ? "" : `, rank ${integer(rank)}`}`;
}

/** @param {any} next @param {number} scale @param {boolean} chained */
function restRow(next, scale, chained) {
  return {
    token: h("span.rest-label", {}, `${integer(next.rest_n)} others`),
    key: "…",
    bar: bars({ rest: bounds(next, "rest_p")[1] }, scale),
    p: h("span", { title: String(next.rest_p ?? next.rest_p_range) }, share(next, "rest_p")),
    final: chained ? h("span", { title: String(next.rest_p_final ?? next.rest_p_final_range) }, share(next, "rest_p_final")) : null,
    class: "rest",
  };
}

/** @param {Shown} shown */
function longest({ next }) {
  return Math.max(1e-9, ...next.rows.map((row) => Math.max(row.p, bounds(row, "p_final")[1])));
}

/** @param {number} scale @param {boolean} ghost */
function axis(scale, ghost) {
  return h("span.axis", {}, h("span.unseen", {}, "share"), h("span", {}, "0"),
    ghost ? h("span", {}, h("i.swatch", { "data-of": "ghost" }), "before the change") : null, h("span", {}, percent(scale)));
}
