/** What a text can be shaded by: nine shades at most, each class with its label. */

import { bits, integer, rampOfBits } from "../lib/figures.js";

/**
 * @typedef {object} Measure
 * @property {string} label
 * @property {(row: any) => number | null} ramp the shade of a row of a score; null for one that was not scored
 * @property {(row: any) => string} told the row in words
 * @property {{shade: number, label: string}[]} classes of the legend
 */

const EDGES = [0.5, 1, 2, 3.5, 5, 7, 10, 14];  // those of rampOfBits
const BITS = ["0", ...EDGES].map((edge, shade) => ({ shade, label: shade < EDGES.length ? `${edge}–${EDGES[shade]}` : `${edge}+` }));
const BANDS = { "1": [0, "1st"], "2-10": [2, "2–10"], "11-100": [4, "11–100"], "101-1000": [6, "101–1,000"], more: [8, "above"] };

const known = (row, shade) => (row.surprisal_bits === null ? null : shade());
const said = (row, words) => (row.surprisal_bits === null ? "not scored, nothing stands before it" : words());

/** @type {Record<string, Measure>} */
export const MEASURES = {
  surprisal: {
    label: "surprise",
    ramp: (row) => known(row, () => rampOfBits(row.surprisal_bits)),
    told: (row) => said(row, () => `${bits(row.surprisal_bits)} of surprise`),
    classes: BITS.map(({ shade, label }) => ({ shade, label: shade === 8 ? `${label} bits` : label })),
  },
  rank: {
    label: "rank",
    ramp: (row) => known(row, () => (BANDS)[row.band][0]),
    told: (row) => said(row, () => `rank ${integer(row.rank)}`),
    classes: Object.values(BANDS).map(([shade, label]) => ({ shade: Number(shade), label: String(label) })),
  },
  entropy: {
    label: "entropy",
    ramp: (row) => known(row, () => rampOfBits(row.entropy_bits)),
    told: (row) => said(row, () => `${bits(row.entropy_bits)} of entropy before it`),
    classes: BITS.map(({ shade, label }) => ({ shade, label: shade === 8 ? `${label} bits` : label })),
  },
};
