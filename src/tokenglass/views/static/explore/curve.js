/** The whole vocabulary in one picture: rank against probability, both axes logarithmic, with the cuts on it. */

import { h, svg } from "../lib/dom.js";
import { integer, percent } from "../lib/figures.js";

const WIDTH = 560, HEIGHT = 280;
const EDGE = { left: 64, right: 14, top: 18, bottom: 40 };
const FLOOR = 1e-9;  // below one in a billion the line is left out, and the picture says so

/**
 * @param {{points: [number, number][], final: [number, number][] | null, cuts: any[], vocab_size: number, exact?: number}} curve
 */
export function drawCurve({ points, final, cuts, vocab_size: size, exact }) {
  const x = (/** @type {number} */ rank) => EDGE.left + (Math.log10(rank) / Math.log10(size)) * (WIDTH - EDGE.left - EDGE.right);
  const y = (/** @type {number} */ p) => EDGE.top + (Math.log10(p) / Math.log10(FLOOR)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const line = (/** @type {[number, number][]} */ of) => of.filter(([, p]) => p >= FLOOR).map(([rank, p]) => `${x(rank).toFixed(1)},${y(p).toFixed(1)}`).join(" ");
  const marked = spaced(cuts.filter((cut) => cut.rank), x);
  return [
    h("figcaption.note", {}, "All tokens by rank, likeliest first; each step along an axis is ten times as much."
      + (exact === undefined || exact >= size ? "" : ` Beyond rank ${exact} the line is read off a histogram.`)),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words(points, cuts, size) },
      axes(x, y, size),
      svg("polyline.model", { points: line(points) }),
      final ? svg("polyline.final", { points: line(final) }) : null,
      marked.map(({ cut, at }) => svg("g.cut", {},
        svg("line", { x1: x(cut.rank), x2: x(cut.rank), y1: EDGE.top, y2: HEIGHT - EDGE.bottom }),
        svg("text", { x: x(cut.rank) + 4, y: EDGE.top + 12 + 15 * at }, `${cut.stage}: ${integer(cut.rank)}`)))),
    h("p.note", {}, h("span.key.model", {}, "the model"), final ? h("span.key.final", {}, "after the chain") : null, cuts.length ? h("span.key.cut", {}, "where a stage cut") : null),
  ];
}

/** Labels of cuts that are close to one another stand below one another. @param {any[]} cuts @param {(rank: number) => number} x */
function spaced(cuts, x) {
  const sorted = [...cuts].sort((a, b) => a.rank - b.rank);
  return sorted.map((cut, index) => ({ cut, at: sorted.slice(0, index).filter((other) => x(cut.rank) - x(other.rank) < 120).length }));
}

/** @param {(rank: number) => number} x @param {(p: number) => number} y @param {number} size */
function axes(x, y, size) {
  const ranks = [1, 10, 100, 1000, 10000, 100000].filter((rank) => rank <= size);
  const powers = /** @type {Record<string, string>} */ ({ 1: "100 %", 1e-2: "1 %", 1e-4: "0.01 %", 1e-6: "0.0001 %", 1e-8: "10⁻⁶ %" });
  const shares = Object.keys(powers).map(Number);
  return [
    ranks.map((rank) => svg("g.tick", {}, svg("line", { x1: x(rank), x2: x(rank), y1: EDGE.top, y2: HEIGHT - EDGE.bottom }),
      svg("text", { x: x(rank), y: HEIGHT - EDGE.bottom + 16, "text-anchor": "middle" }, integer(rank)))),
    shares.map((p) => svg("g.tick", {}, svg("line", { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(p), y2: y(p) }),
      svg("text", { x: EDGE.left - 6, y: y(p) + 4, "text-anchor": "end" }, powers[p]))),
    svg("text.name", { x: WIDTH - EDGE.right, y: HEIGHT - 6, "text-anchor": "end" }, "rank"),
  ];
}

/** The same in words. @param {[number, number][]} points @param {any[]} cuts @param {number} size */
function words(points, cuts, size) {
  const at = (/** @type {number} */ rank) => points.find(([each]) => each >= rank);
  const told = [1, 10, 100, 1000].filter((rank) => rank <= size).map((rank) => `rank ${integer(rank)} ${percent(at(rank)?.[1])}`);
  const cut = cuts.map((each) => `${each.stage} keeps ${integer(each.alive)} tokens, down to rank ${each.rank === null ? "none" : integer(each.rank)}`);
  return `probability by rank: ${[...told, ...cut].join("; ")}`;
}
