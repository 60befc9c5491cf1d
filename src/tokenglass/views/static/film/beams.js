/** A step of a beam search: candidates as cards under their parents, and the bank of finished texts. */

import { h } from "../lib/dom.js";
import { percent, significant } from "../lib/figures.js";
import { bars } from "../lib/bars.js";
import { glyphs } from "../lib/glyphs.js";
import { fixed } from "../parts/numbers.js";
import { ending, word } from "../parts/prose.js";
import { term } from "../parts/terms.js";

const ROOM = 34;  // characters of a beam's text above its cards

/** The ids of the best text before a step. */
export function bestIds(record) {
  const best = [...record.beams].sort((a, b) => b.total - a.total)[0];
  return best?.ids ?? [];
}

/** @param {import("./film.js").Film} film @param {any} record @returns {Node[]} */
export function beamFrame(film, record) {
  const grouped = record.candidates.some((each) => each.group > 0);
  const parents = record.beams.map((beam, index) =>
    parent(film, record, beam, index, grouped));
  return [
    h("p.facts-line", {}, told(record)),
    h("div.parents", { style: { "--n": record.beams.length } }, parents),
    ...record.penalties.map((charged, group) => charges(film, charged, group)),
    record.stop ? h("p.stop", {}, `The search ends: ${record.stop}.`) : null,
    bank(film, record),
  ].filter(Boolean);
}

/** What happened, in one sentence. */
function told(record) {
  const of = (fate) => record.candidates.filter((each) => each.fate === fate).length;
  const [runs, banked, pruned] = ["runs", "banked", "pruned"].map(of);
  const texts = record.beams.length === 1 ? "One text" : `${record.beams.length} texts`;
  return [`${texts} and their ${record.candidates.length} best continuations: `,
    h("b.runs", {}, `${runs} go on`), banked ? [", ", h("b.banked", {}, `${banked} finished`)] : null, ", ", h("span.soft", {}, `${pruned} are dropped`), "."];
}

/** @param {any} film @param {any} record @param {any} beam @param {number} index @param {boolean} grouped */
function parent(film, record, beam, index, grouped) {
  const { cut, tokens } = ending(beam.ids.map((id) => film.name(id)), ROOM);
  const cards = record.candidates.filter((each) => each.parent === index);
  const shown = tokens.length ? [cut ? h("span.soft", {}, "…") : null, tokens.map((each) => word(each))] : h("span.soft", {}, "the prompt");
  return h("section.parent", { "aria-label": `beam ${index + 1}` },
    h("header", {},
      h("span.small.soft", {}, `beam ${index + 1}`, grouped ? ` · group ${beam.group + 1}` : "", beam.bank ? ` · ${beam.bank} towards the word` : ""),
      h("p.beam-text", {}, shown),
      h("p.small.soft.number", {}, term("total", "total"), ` ${fixed(beam.total)}`)),
    cards.length ? h("ol.cards", {}, cards.map((each) => card(film, record, each))) : h("p.note", {}, "none of its continuations was good enough"));
}

function card(film, record, each) {
  const p = Math.exp(each.logprob);
  return h("li.card", { class: each.fate, title: each.why },
    h("div.card-head", {}, h("span.small.soft.number", { title: "rank among all candidates" }, each.rank), glyphs({ id: each.token_id, token: film.name(each.token_id) }), h("span.number.small", {}, percent(p))),
    bars(each.fate === "pruned" ? { rest: p } : { model: p }),
    h("div.sum.number.small", { title: "the beam's total plus this token's log-probability" },
      `${fixed(record.beams[each.parent].total)} ${each.logprob < 0 ? "−" : "+"} ${Math.abs(each.logprob).toFixed(3)} = `, h("b", {}, fixed(each.total))),
    h("div.verdict.small", {}, fate(each)));
}

function fate(each) {
  const forced = each.forced ? "forced word, " : "";
  if (each.fate === "runs") return [h("b", {}, `→ beam ${(each.becomes ?? 0) + 1}`), forced ? h("span.soft", {}, " forced word") : null];
  if (each.fate === "banked") return h("b", {}, `${forced}→ bank`);
  return `✕ ${forced}${each.why}`;
}

/** @param {any} film @param {any} charged @param {number} group */
function charges(film, charged, group) {
  if (!charged.length) return null;
  return h("p.note", {}, `Group ${group + 1} is charged for what earlier groups took: `,
    charged.map(([id, n]) => [glyphs({ id, token: film.name(id) }), ` ${n}× `]));
}

/** The finished texts, each with its sum written out. */
function bank(film, record) {
  const power = film.config.length_penalty ?? 1;
  const rows = record.bank.map((found, place) =>
    h("li", { class: found.step === record.step ? "new" : "" },
      h("span.soft.number", {}, `${place + 1}`),
      h("span.formula.number", {}, `${fixed(found.total)} / ${found.length}`, h("sup", {}, significant(power).replace(/\.?0+$/, "")), " = ", h("b", {}, fixed(found.score, 4))),
      h("span.bank-text", {}, found.ids.map((id) => word(film.name(id))), h("span.note", {}, ` ${found.finish_reason}`))));
  const race = record.best_possible !== null && record.worst_finished !== null
    ? h("p.note", {}, `To go on, a beam must be able to beat the worst of the bank: best still possible ${fixed(record.best_possible, 4)}, worst finished ${fixed(record.worst_finished, 4)}.`) : null;
  return h("section.bank", { "aria-label": "finished texts" },
    h("h3", {}, "The bank"), " ", h("span.note", {}, "finished texts: ", term("length_penalty", "total / length ^ length penalty = score")),
    rows.length ? h("ol", {}, rows) : h("p.note", {}, "Nothing has finished yet: a text finishes with an end-of-text token or at the length limit."), race);
}
