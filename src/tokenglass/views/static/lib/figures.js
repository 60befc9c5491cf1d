/**
 * Numbers as people read them, letter for letter as tokenglass.views.figures writes them.
 * What is not quite 0 or 1 is never shown as 0 % or 100 %.
 */

/**
 * A probability with three significant digits: 0.2068 -> "20.7 %".
 *
 * @param {number | null | undefined} p
 */
export function percent(p) {
  if (p === null || p === undefined || Number.isNaN(p)) return "unknown";
  if (p <= 0) return "0 %";
  if (p >= 1) return "100 %";
  if (p >= 0.9995) return ">99.9 %";
  return `${significant(100 * p)} %`;
}

/**
 * So many significant digits, never fewer than stand before the point.
 *
 * @param {number} x
 * @param {number} [digits]
 */
export function significant(x, digits = 3) {
  if (x === 0) return "0";
  if (!Number.isFinite(x)) return String(x);
  const exponent = Math.floor(Math.log10(Math.abs(Number(x.toExponential(digits - 1)))));
  if (exponent < -4) return x.toExponential(digits - 1);
  return fixed(x, Math.max(0, digits - 1 - exponent));
}

/** So many decimals, thousands apart; a tie goes to the even digit, as Python has it. @param {number} x @param {number} decimals */
function fixed(x, decimals) {
  let shown = x.toFixed(decimals);
  const tie = new RegExp(`^-?\\d+\\.\\d{${decimals}}50*$`).test(x.toFixed(100));  // a hundred digits are exact
  if (tie && Number(shown.at(-1)) % 2) shown = (Number(shown) - Math.sign(x) * 10 ** -decimals).toFixed(decimals);
  return shown.replace(/\B(?<!\.\d*)(?=(\d{3})+(?!\d))/g, ",");
}

/**
 * A share of a row, which a recording may know only between two bounds: "12.1–12.4 %".
 *
 * @param {any} row @param {string} name of the share, such as "p_final"
 */
export function share(row, name) {
  return bounded(row, name, percent);
}

/** A count of a row, which may be known only between two bounds: "50–53". @param {any} row @param {string} name */
export function counted(row, name) {
  return bounded(row, name, integer);
}

/** @param {any} row @param {string} name @param {(value: number) => string} write */
function bounded(row, name, write) {
  const range = row[`${name}_range`];
  if (row[name] !== null || !range) return row[name] === null ? "unknown" : write(row[name]);
  const [low, high] = range.map(write);
  return low === high ? `about ${low}` : `${low.replace(/ %$/, "")}–${high}`;
}

/** The ends between which a quantity of a row lies; equal where it is known. @param {any} row @param {string} name @returns {[number, number]} */
export function bounds(row, name) {
  return row[name] === null ? row[`${name}_range`] ?? [0, 0] : [row[name], row[name]];
}

/** @param {number | null | undefined} value entropy or surprisal: 5.0712 -> "5.07 bits" */
export function bits(value) {
  return value === null || value === undefined || Number.isNaN(value) ? "unknown" : `${fixed(value, 2)} bits`;
}

/** @param {number | null} effective 33.4 -> "about 33 effective choices" */
export function choices(effective) {
  if (effective === null) return "an unknown number of effective choices";
  const shown = (effective < 9.95 ? effective.toFixed(1) : integer(effective)).replace(/\.0$/, "");
  return `about ${shown} effective choice${shown === "1" ? "" : "s"}`;
}

/** @param {number} n 49152 -> "49,152" */
export function integer(n) {
  return Math.round(n).toLocaleString("en-US");
}

/** @param {number} n @param {string} noun (1, "token") -> "1 token" */
export function count(n, noun) {
  return `${integer(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** @param {number} n 22 -> "22nd" */
export function ordinal(n) {
  const teen = [11, 12, 13].includes(n % 100);
  return `${integer(n)}${teen ? "th" : ({ 1: "st", 2: "nd", 3: "rd" })[n % 10] ?? "th"}`;
}

/** @param {number} p -log2 of a probability */
export function surprisal(p) {
  return p > 0 ? -Math.log2(p) || 0 : Infinity;
}

/** The place of a probability on the colour ramp, 0 (rare) to 8 (nearly sure); equal steps of the odds read as even. */
export function rampOf(/** @type {number} */ p) {
  const edges = [0.001, 0.01, 0.03, 0.08, 0.18, 0.35, 0.6, 0.85];
  return edges.filter((edge) => p >= edge).length;
}

/** The place of a surprisal in bits on the ramp, 0 (expected) to 8. */
export function rampOfBits(/** @type {number} */ value) {
  const edges = [0.5, 1, 2, 3.5, 5, 7, 10, 14];
  return edges.filter((edge) => value >= edge).length;
}
