/** What a comparison found: one sentence for each number, what moved, and the two texts. */

import { fill, h } from "../lib/dom.js";
import { bits, count, percent, significant } from "../lib/figures.js";
import { glyphs } from "../lib/glyphs.js";
import { table } from "../lib/table.js";
import { fact } from "../parts/fields.js";
import { parted, typed } from "../parts/prose.js";
import { term } from "../parts/terms.js";
import { keywords } from "../strategies/keywords.js";

/** The difference in what may come next. */
export function promptEnd(row) {
  return row.positions.find((each) => each.index_a === row.a.generation.prompt_ids.length - 1);
}

/** @param {any} row a Comparison row @returns {Node[]} */
export function result(row) {
  const end = promptEnd(row);
  return [
    h("p.verdict", {}, verdict(end)),
    distances(end),
    movers(end.movers),
    texts(row),
    row.positions.length > 1 ? everywhere(row) : null,
    h("p.note", {}, `Compared: ${row.scope}.`),
  ].filter(Boolean);
}

/** The distance in words. */
function verdict(end) {
  const { top_a: a, top_b: b, tv } = end;
  const far = tv < 0.02 ? "almost the same" : tv < 0.15 ? "close together" : tv < 0.5 ? "clearly apart" : tv < 0.85 ? "far apart" : "nearly strangers";
  const favourites = end.agree ? ["both would most likely go on with ", glyphs(a), ` (A ${percent(a.p_a)}, B ${percent(b.p_b)})`]
    : ["A would most likely go on with ", glyphs(a), ` (${percent(a.p_a)}), B with `, glyphs(b), ` (${percent(b.p_b)})`];
  return [`A and B are ${far}: `, favourites, "."];
}

function distances(end) {
  const endless = end.kl_ab_bits === null || end.kl_ba_bits === null;
  const kl = (x) => (x === null ? "∞" : bits(x));
  return h("div.facts", {},
    fact(percent(end.tv), term("tv", "total variation"), "of the probability would have to move to turn A into B"),
    fact(bits(end.js_bits), term("js", "JS divergence"), "of 1 bit: how well one token tells A from B"),
    fact(`${kl(end.kl_ab_bits)} / ${kl(end.kl_ba_bits)}`, term("kl", "KL(A‖B) / KL(B‖A)"), endless ? "∞: one side rules out what the other allows" : "extra surprise for a reader who expects the other"));
}

/** Tokens whose probability changed most, as lines from A to B on one axis from 0 to 1. */
function movers(/** @type {any[]} */ found) {
  const moved = found.filter((each) => each.p_a !== null && each.p_b !== null && each.p_a !== each.p_b);
  if (!moved.length) return h("p", {}, "Nothing moved: the next token has the same table in both.");
  const most = Math.max(...moved.map((each) => Math.max(each.p_a, each.p_b)));
  const scaled = h("input", { type: "checkbox" });
  const holder = h("div.scroll");
  const draw = () => fill(holder, moversTable(moved, scaled.checked ? most : 1));
  scaled.addEventListener("change", draw);
  draw();
  return h("section", {}, h("div.row", {}, h("h3", {}, "What moved most"), h("label.small.soft.push", {}, scaled, `zoom: longest = ${percent(most)}`)), holder);
}

/** @param {any[]} moved @param {number} scale */
function moversTable(moved, scale) {
  const columns = [
    { name: "way", label: h("span.unseen", {}, "up or down") },
    { name: "token", label: "token", heads: true },
    { name: "line", label: [h("span.unseen", {}, "as a line"), h("span.axis-ends", { "aria-hidden": "true" }, h("span", {}, "0"), h("span", {}, percent(scale)))], align: "wide" },
    { name: "a", label: "A", align: "number" },
    { name: "b", label: "B", align: "number" },
    { name: "ranks", label: "rank A → B", align: "number" },
  ];
  return table({ caption: "tokens whose probability moved most, from A to B", columns, rows: moved.map((each) => {
    const up = each.p_b > each.p_a;
    return {
      way: h("span", { "aria-label": up ? "up" : "down" }, up ? "▲" : "▼"),
      token: glyphs(each), line: dumbbell(each.p_a / scale, each.p_b / scale), a: percent(each.p_a), b: percent(each.p_b),
      ranks: `${rank(each.rank_a)} → ${rank(each.rank_b)}`, class: up ? "up" : "down",
    };
  }) }, { class: "shifts" });
}

const rank = (n) => (n === null ? "none" : n.toLocaleString("en-US"));

function dumbbell(/** @type {number} */ a, /** @type {number} */ b) {
  return h("span.dumbbell", { "aria-hidden": "true", style: { "--from": Math.min(a, b), "--to": Math.max(a, b), "--a": a, "--b": b } }, h("i.bar-between"), h("i.end-a"), h("i.end-b"));
}

/** Both texts, what they share dim, where they part marked. */
function texts(row) {
  const one = (name) => {
    const { generation, keywords: given, model } = row[name];
    const at = row.parting?.[`index_${name}`] ?? Infinity;
    const prompt = row.kind === "prompts" ? h("p.small.soft", {}, h("bdi", {}, typed(generation.prompt_text))) : row.kind === "models" ? h("p.small.soft", {}, typed(model)) : h("p.small.soft.mono", {}, keywords(given));
    return h(`div.party.${name}`, {}, h("span.letter", {}, name.toUpperCase()), h("div", {}, prompt,
      h("p.written", {}, parted(generation.sequences[0].steps, at, (step) => percent(step.p)))));
  };
  return h("section.texts", {}, h("h3", {}, "What each writes"), h("div.parties", {}, one("a"), one("b")), h("p.note", {}, sentence(row.why)));
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

/** Every position both have in common, folded away. */
function everywhere(row) {
  const columns = [
    { name: "token", label: "after this token", heads: true },
    { name: "tv", label: term("tv", "TV"), align: "number" },
    { name: "js", label: term("js", "JS"), align: "number" },
    { name: "a", label: "likeliest for A" }, { name: "b", label: "for B" },
  ];
  return h("details", {}, h("summary", {}, `All ${count(row.positions.length, "position")}: both find the same token likeliest at ${percent(row.agreement)}`),
    h("div.scroll", {}, table({ caption: "positions", columns, rows: row.positions.map((each) => ({
      token: [glyphs(each), h("span.note", {}, ` ${each.index_a}`)], tv: significant(each.tv), js: each.js_bits === null ? "unknown" : significant(each.js_bits),
      a: [glyphs(each.top_a), h("span.note", {}, ` ${percent(each.top_a.p_a)}`)], b: [glyphs(each.top_b), h("span.note", {}, ` ${percent(each.top_b.p_b)}`)],
      class: each.agree ? "" : "chosen",
    })) })));
}
