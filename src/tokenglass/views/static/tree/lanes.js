/** The tree as a drawing: a disc for each place, as large as it was likely, ringed where the model was unsure. */

import { h, svg } from "../lib/dom.js";
import { bits, count, percent, rampOf } from "../lib/figures.js";
import { glyphs, spoken } from "../lib/glyphs.js";
import { MOST_LANES } from "./layout.js";

export const LANE = 34;
const MIDDLE = 13;
const UNSURE = 5;  // bits from which on a place has a ring: as open as a choice among 32 alike

/**
 * @param {any} laid of `layout`
 * @param {{here: number, at: number, onGo: (node: number) => void, onFold: (node: number) => void, onFocus: (node: number) => void}} use
 */
export function drawLanes(laid, use) {
  const size = { "--w": `${laid.width}px`, "--h": `${laid.lanes * LANE}px` };
  return [
    h("div.canvas", { style: size, role: "none" },
      svg("svg", { width: laid.width, height: laid.lanes * LANE, "aria-hidden": "true" }, laid.shown.flatMap((node) => node.shown.filter((child) => child.lane >= 0).map((child) => edge(node, child)))),
      laid.shown.map((node) => placeOf(node, laid, use))),
    laid.left ? h("p.note", { role: "none" }, `${count(laid.left, "more branch").replace("branchs", "branches")} beyond the ${MOST_LANES} lanes drawn here; fold some to see them`) : null,
  ];
}

/** @param {any} node @param {any} child */
function edge(node, child) {
  const [x1, y1, x2, y2] = [node.x + MIDDLE, middle(node), child.x + MIDDLE, middle(child)];
  const on = (child.row.on_path ? ".on" : "") + (node.hidden ? ".gap" : "");
  if (y1 === y2) return svg(`path${on}`, { d: `M${x1} ${y1}H${x2}` });
  const turn = x2 - 16;
  return svg(`path${on}`, { d: `M${x1} ${y1}H${turn - 8}Q${turn} ${y1} ${turn} ${y1 + 8}V${y2 - 8}Q${turn} ${y2} ${turn + 8} ${y2}H${x2}` });
}

function middle(node) {
  return node.lane * LANE + LANE / 2;
}

/** @param {any} node @param {any} laid @param {any} use */
function placeOf(node, laid, use) {
  const { row } = node;
  const prompt = row.token === undefined;
  const p = prompt ? 1 : row.p_final;
  const unsure = row.entropy_bits !== undefined && row.entropy_bits !== null && row.entropy_bits >= UNSURE;
  const state = [row.node === laid.here ? "here" : "", row.on_path ? "on" : "", node.diverges ? "diverges" : "", unsure ? "unsure" : "", row.ended ? "ended" : ""].join(" ");
  return h("div.place", {
    role: "treeitem", tabindex: row.node === use.at ? "0" : "-1", "data-node": row.node, class: state,
    "aria-level": (row.depth ?? 0) + 1, "aria-selected": String(row.node === laid.here), "aria-expanded": node.children.length > 1 ? String(node.shown.length > 0) : null,
    title: described(node),
    style: { "--x": `${node.x}px`, "--y": `${node.lane * LANE}px`, "--size": `${Math.round(7 + 15 * Math.sqrt(Math.max(0, p)))}px` },
    onclick: () => use.onGo(row.node), ondblclick: () => use.onFold(row.node), onfocus: () => use.onFocus(row.node),
  }, h("i.disc", { "data-ramp": rampOf(p) }), prompt ? h("span.soft", {}, "prompt") : glyphs(row),
  row.name ? h("bdi.name", {}, row.name) : null,
  row.count > 1 && !prompt ? h("span.count", {}, `×${row.count}`) : null,
  node.hidden ? h("span.count", {}, `+${node.hidden}`) : null);
}

function described(node) {
  const { row } = node;
  if (row.token === undefined) return "prompt";
  const facts = [spoken(row), `${percent(row.p_final)}`, bits(row.entropy_bits) + " open there", row.origin, row.name ? `named ${row.name}` : "", row.count > 1 ? `${row.count} samples` : "", row.ended ? `ended: ${row.finish_reason}` : "", node.hidden ? `${node.hidden} more not drawn` : ""];
  return facts.filter(Boolean).join(", ");
}
