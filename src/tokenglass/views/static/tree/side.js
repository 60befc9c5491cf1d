/** Texts of the tree side by side: what they share is dim, where they first part is marked. */

import { button, h } from "../lib/dom.js";
import { count, percent } from "../lib/figures.js";
import { prose } from "../lib/glyphs.js";

const MOST = 6;

/** @param {any[]} rows @param {(node: number) => void} onGo */
export function sideBySide(rows, onGo) {
  const byId = new Map(rows.map((row) => [row.node, row]));
  const parents = new Set(rows.map((row) => row.parent));
  const ends = rows.filter((row) => !parents.has(row.node) && row.parent !== null).sort((a, b) => b.text_logprob - a.text_logprob);
  const lines = ends.slice(0, MOST).map((end) => lineTo(byId, end));
  return [
    lines.map((line, index) => column(line, shared(line, lines.filter((other) => other !== line)), index, onGo)),
    ends.length > MOST ? h("p.note", {}, `the ${MOST} likeliest of ${count(ends.length, "text")}`) : null,
  ];
}

/** @param {Map<number, any>} byId @param {any} end */
function lineTo(byId, end) {
  const line = [];
  for (let row = end; row && row.parent !== null; row = byId.get(row.parent)) line.unshift(row);
  return line;
}

/** How many places a line has in common with at least one other. @param {any[]} line @param {any[][]} others */
function shared(line, others) {
  return Math.max(0, ...others.map((other) => {
    const apart = line.findIndex((row, index) => row.node !== other[index]?.node);
    return apart < 0 ? line.length : apart;
  }));
}

/** @param {any[]} line @param {number} common @param {number} index @param {(node: number) => void} onGo */
function column(line, common, index, onGo) {
  const end = line[line.length - 1];
  const p = Math.exp(end.text_logprob ?? -Infinity);
  return h("article.text", { "aria-label": `text ${index + 1}` },
    h("p.lines", {}, line.map((row, place) => h("span", { class: place < common ? "common" : place === common ? "first" : "" }, prose(row)))),
    h("p.note.row", {}, h("span", {}, p > 0 ? `${percent(p)} after the chain` : "out of the chain's reach"), end.name ? h("bdi", {}, end.name) : null, button("go there", () => onGo(end.node), { "class": "small" })));
}
