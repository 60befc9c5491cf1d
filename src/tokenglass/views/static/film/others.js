/** Steps of the searches that write one text: contrastive search, DoLa, drafts. */

import { bars } from "../lib/bars.js";
import { h } from "../lib/dom.js";
import { count, percent, significant } from "../lib/figures.js";
import { glyphs } from "../lib/glyphs.js";
import { table } from "../lib/table.js";
import { fixed } from "../parts/numbers.js";
import { word } from "../parts/prose.js";
import { term } from "../parts/terms.js";

/** Display text of what stands at a place of prompt and text. */
function tokenAt(film, /** @type {number} */ position) {
  const own = film.records.flatMap((record) => record.kind === "contrastive" ? record.rows.filter((row) => row.chosen).map((row) => row.token_id) : record.written ?? [record.token_id]);
  return film.promptTokens[position]?.token ?? film.name(own[position - film.promptTokens.length]);
}

const named = (film, /** @type {number} */ id, /** @type {object} */ props = {}) => glyphs({ id, token: film.name(id) }, props);

export function contrastiveFrame(film, record) {
  const alpha = film.config.penalty_alpha;
  const chosen = record.rows.find((row) => row.chosen);
  const first = record.rows[0];
  const rows = record.rows.map((row) => ({
    token: named(film, row.token_id),
    p: percent(row.p),
    gain: [bars({ model: (1 - alpha) * row.p }), h("span.number.small", {}, `${significant(1 - alpha)} × ${percent(row.p)} = ${((1 - alpha) * row.p).toFixed(3)}`)],
    nearest: [h("span.narrow.small.soft", {}, "most like "), glyphs({ id: 0, token: tokenAt(film, row.nearest) }), h("span.note", {}, ` at ${row.nearest}`)],
    cost: [bars({ removed: Math.max(0, alpha * row.cosine) }), h("span.number.small", {}, `${significant(alpha)} × ${fixed(row.cosine)} = ${fixed(alpha * row.cosine)}`)],
    score: [h("span.narrow.small.soft", {}, "score "), h("b", {}, fixed(row.score, 4))],
    class: row.chosen ? "chosen" : "",
  }));
  return [
    h("p.facts-line", {}, chosen === first ? "The likeliest token also has the best score: " : "A less likely token wins, because it repeats less of what was said: ",
      named(film, chosen.token_id), ` with ${fixed(chosen.score, 4)}.`),
    h("div.scroll", {}, table({
      caption: "candidates of contrastive search",
      columns: [
        { name: "token", label: "candidate", heads: true },
        { name: "p", label: "p", align: "number" },
        { name: "gain", label: `it earns (1 − α) · p`, align: "wide" },
        { name: "nearest", label: [term("cosine", "most like"), " this earlier token"] },
        { name: "cost", label: "and pays α · cosine", align: "wide" },
        { name: "score", label: term("contrastive", "score"), align: "number" },
      ],
      rows,
    }, { class: "film-table in-blocks" })),
    record.finish_reason ? h("p.stop", {}, `The text ends: ${record.finish_reason}.`) : null,
  ].filter(Boolean);
}

export function dolaFrame(film, record) {
  const known = record.divergences.filter((pair) => pair[1] !== null);
  const most = Math.max(...known.map((pair) => pair[1]), 1e-12);
  const columns = [
    { name: "layer", label: "layer", align: "number", heads: true },
    { name: "bar", label: "how far it is from the last layer (the longest bar is the largest)", align: "wide" },
    { name: "js", label: term("dola", "divergence"), align: "number" },
  ];
  const rows = record.divergences.map(([layer, x]) => ({
    layer, bar: bars({ model: (x ?? 0) / most }), js: x === null ? "unknown" : significant(x), class: layer === record.layer ? "chosen" : "",
  }));
  return [
    h("p.facts-line", {}, `Layer ${record.layer} thinks most unlike the last. `, named(film, record.token_id), " gained most from there to the last layer: ",
      term("dola", `${fixed(record.final_logprob, 3)} − (${fixed(record.layer_logprob, 3)}) = ${fixed(record.contrast, 3)}`), "."),
    h("p.note", {}, `${count(record.alive, "token")} took part: those at least a tenth as likely as the best in the last layer.`),
    table({ caption: "layers", columns, rows }, { class: "film-table layers" }),
    record.finish_reason ? h("p.stop", {}, `The text ends: ${record.finish_reason}.`) : null,
  ].filter(Boolean);
}

const AFTER = { next: "All were right, so the model adds one more of its own: ", residual: "Then a token that the model wants more than the assistant: ", correction: "Then the model's own choice: " };

export function draftFrame(film, record) {
  const accepted = record.drafts.filter((draft) => draft.verdict === "accepted").length;
  const source = record.source ? Array.from({ length: record.source[1] - record.source[0] }, (_, i) => tokenAt(film, record.source[0] + i)) : [];
  const own = record.bonus ? [record.drafts.length ? (AFTER)[record.bonus] : "No draft was found; the model's own token: ", named(film, record.written.at(-1))] : null;
  return [
    h("p.facts-line", {}, record.drafts.length ? `${accepted} of ${count(record.drafts.length, "drafted token")} accepted in one run of the model. ` : null, own),
    source.length ? h("p", {}, h("span.soft", {}, "copied from the text: "), h("span.quoted", {}, source.map((each) => word(each)))) : null,
    record.drafts.length ? h("ol.drafts", {}, record.drafts.map((draft) => h("li.card", { class: draft.verdict },
      h("div.card-head", {}, named(film, draft.token_id), h("span.number.small", {}, draft.p === null ? "not read" : percent(draft.p))),
      h("div.verdict.small", {}, { accepted: "✓ accepted", rejected: "✕ rejected", unread: "not read" }[/** @type {string} */ (draft.verdict)],
        draft.wanted !== null && draft.verdict === "rejected" ? [": the model wants ", named(film, draft.wanted)] : null)))) : null,
    record.finish_reason ? h("p.stop", {}, `The text ends: ${record.finish_reason}.`) : null,
  ].filter(Boolean);
}
