/** Numbers in sums that are written out. */

/** So many decimals, with a true minus sign: -0.6889 -> "−0.689". */
export function fixed(/** @type {number | null | undefined} */ x, digits = 3) {
  if (x === null || x === undefined) return "unknown";
  return x.toFixed(digits).replace("-", "−");
}
