/** One stage, before and after: the same candidates in two columns, those it removed greyed with its name. */

import { bars } from "../lib/bars.js";
import { h } from "../lib/dom.js";
import { bounds, count, counted, integer, percent, share } from "../lib/figures.js";
import { glyphs } from "../lib/glyphs.js";
import { table } from "../lib/table.js";

/** @param {any} next a table with a chain @param {number} index of the stage, above 0 */
export function stageTable(next, index) {
  const stage = next.stages[index];
  const rows = next.rows.filter((row) => row.trail).map((row) => stageRow(row, stage, index));
  return [
    h("p.note", {}, told(stage)),
    table({
      caption: `before and after ${stage.name}`,
      columns: [
        { name: "token", label: "token" },
        { name: "bar", label: `before, after ${stage.name}`, align: "wide" },
        { name: "before", label: "before", align: "number" },
        { name: "after", label: "after", align: "number" },
      ],
      rows,
    }),
  ];
}

/** @param {any} row @param {any} stage @param {number} index */
function stageRow(row, stage, index) {
  const [before, after] = [row.trail[index - 1], row.trail[index]];
  const here = row.removed?.stage === stage.name;
  const gone = after === 0;
  const reason = here ? `✕ ${stage.name}${row.removed.rank === null ? "" : `, rank ${integer(row.removed.rank)}`}` : `✕ ${row.removed_by} before`;
  return {
    token: glyphs(row),
    bar: gone ? bars({ removed: before }) : bars({ model: before, final: after }),
    before: percent(before),
    after: gone ? h("span.small", {}, reason) : percent(after),
    class: gone ? "removed" : "",
  };
}

/** What a stage did, in a plain sentence. */
function told(stage) {
  if (bounds(stage, "removed")[1]) {
    const of = stage.removed === null || stage.alive === null ? "" : ` of ${integer(stage.alive + stage.removed)}`;
    return `${stage.name} kept ${counted(stage, "alive")}${of} tokens, ${share(stage, "mass_kept")} of the probability; what is left is made 100 % again.`;
  }
  if (stage.changed) return `${stage.name} changed the scores of ${count(stage.changed, "token")} and removed none.`;
  return `${stage.name} changed nothing here.`;
}
