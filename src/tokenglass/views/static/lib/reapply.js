/**
 * A chain put in force anew on stored numbers.
 *
 * A reading keeps the likeliest tokens one by one (the head), the sum over all tokens, and how the others' logits
 * are spread (the tail). Where that settles a number it comes out as a number, else as the interval it lies in.
 * Every quantity is therefore a pair [low, high]; equal ends mean that it is known.
 *
 * @typedef {[number, number]} Range
 * @typedef {{low: number, high: number, n: Range}} Bin some scores between two logits
 * @typedef {{weight: Range, n: Range, bins: Bin[] | null}} Rest the tokens outside the head: their weight together,
 *   relative to the best token's, how many, and where; null where that is no longer known
 * @typedef {{t: number, weights: number[], alive: number[], rest: Rest}} Row `alive`: 1 in, 0 out, 0.5 unknown
 * @typedef {{ids: number[], logits: number[], logsumexp: number, entropyBits: number | null,
 *   tail: {low: number, high: number, counts: number[]} | null}} Reading
 * @typedef {{do_sample?: boolean, temperature?: number | null, top_k?: number | null, top_p?: number | null, min_p?: number | null}} Config
 */

const EDGE = 1e-3;  // of a bin: so far beyond its edges a score may lie
const NEAR = 1e-6;  // of the whole: so near to a threshold, float32 decides
const KNOWN = 1e-9;  // an interval so much shorter than its end is a number

/** The stages that a configuration stands for, in transformers' order. @param {Config} config */
export function stagesOf(config) {
  if (!config.do_sample) return [];
  const { temperature, top_k: k, top_p: p, min_p: m } = config;
  return [
    temperature && temperature !== 1 ? { name: "temperature", params: { t: temperature }, apply: hotter } : null,
    k && k > 0 ? { name: "top_k", params: { k, min_keep: 1, tie: "keep_all" }, apply: best } : null,
    typeof p === "number" && p < 1 ? { name: "top_p", params: { p, min_keep: 1, compare: "tail" }, apply: nucleus } : null,
    typeof m === "number" ? { name: "min_p", params: { p: m, min_keep: 1, compare: "probs" }, apply: likelyEnough } : null,
  ].filter((stage) => stage !== null);
}

/**
 * What a chain makes of a reading.
 *
 * @param {Reading} reading
 * @param {Config} config
 * @param {number} vocabSize
 */
export function reapplied(reading, config, vocabSize) {
  const rows = [modelRow(reading, vocabSize)];
  const stages = [record("model", {}, null, rows[0], reading)];
  for (const { name, params, apply } of stagesOf(config)) {
    const before = rows[rows.length - 1];
    const after = apply(before, /** @type {any} */ (params), reading);
    rows.push(after);
    stages.push(record(name, params, before, after, reading));
  }
  const last = rows[rows.length - 1];
  return {
    stages: stages.length > 1 ? stages : [],
    final: reading.ids.map((_, i) => shareOf(last, i)),
    trail: reading.ids.map((_, i) => rows.map((row) => shareOf(row, i))),
    removed: reading.ids.map((_, i) => removal(rows, stages, i)),
    rest: last,
  };
}

/** Probability of all tokens but the first n of the head. @param {Row} row @param {number} n @returns {Range} */
export function others(row, n) {
  const shown = row.weights.slice(0, n).map((weight, i) => span(weight, row.alive[i]));
  const [low, high] = sum([...row.weights.slice(n).map((weight, i) => span(weight, row.alive[n + i])), row.rest.weight]);
  const [least, most] = sum(shown);
  return [low / (low + most) || 0, high / (high + least) || 0];
}

/** A range as a number where it is one, else null. @param {Range} range */
export function number([low, high]) {
  return high - low <= KNOWN * Math.max(high, 1e-300) ? (low + high) / 2 : null;
}

// ---------------------------------------------------------------------------------------------------- rows

/** @param {Reading} reading @param {number} vocabSize @returns {Row} */
function modelRow(reading, vocabSize) {
  const weights = scaled(reading, 1);
  const head = weights.reduce((a, b) => a + b, 0);
  const all = Math.exp(reading.logsumexp - reading.logits[0]);
  const rest = restAt(reading, 1, vocabSize);
  const exact = Math.min(Math.max(all - head, rest.weight[0]), rest.weight[1]);  // a difference; the bins bound its error
  return { t: 1, weights, alive: weights.map((weight) => Number(weight > 0)), rest: { ...rest, weight: [exact, exact] } };
}

/** @param {Reading} reading @param {number} t */
function scaled({ logits }, t) {
  const divisor = Math.fround(t);
  const scores = logits.map((logit) => Math.fround(logit / divisor));  // in float32, as the chain divides
  return scores.map((score) => Math.exp(score - scores[0]));
}

/** @param {Reading} reading @param {number} t @param {number} vocabSize @returns {Rest} */
function restAt({ logits, tail }, t, vocabSize) {
  const best = logits[0], least = logits[logits.length - 1];
  if (!tail) {
    const n = Math.max(0, vocabSize - logits.length);
    return { weight: [0, n * Math.exp((least - best) / t)], n: [0, n], bins: null };
  }
  return restOf(binsOf(tail), best, t);
}

/** @param {{low: number, high: number, counts: number[]}} tail @returns {Bin[]} the highest first */
function binsOf({ low, high, counts }) {
  const width = (high - low) / (counts.length || 1);
  const bins = Array.from(counts, (n, i) => ({
    low: Math.max(low, low + (i - EDGE) * width),
    high: Math.min(high, low + (i + 1 + EDGE) * width),
    n: /** @type {Range} */ ([n, n]),
  }));
  return bins.filter(({ n }) => n[1] > 0).reverse();
}

/** @param {Bin[]} bins @param {number} best @param {number} t @returns {Rest} */
function restOf(bins, best, t) {
  const weigh = (/** @type {number} */ logit) => Math.exp((logit - best) / t);
  const weight = sum(bins.map(({ low, high, n }) => [n[0] * weigh(low), n[1] * weigh(high)]));
  return { weight, n: sum(bins.map(({ n }) => n)), bins };
}

/** @type {Rest} */
const NOTHING = { weight: [0, 0], n: [0, 0], bins: [] };

// -------------------------------------------------------------------------------------------------- stages

/** @param {Row} row @param {{t: number}} params @param {Reading} reading @returns {Row} */
function hotter(row, { t }, reading) {
  const rest = row.rest.bins
    ? restOf(row.rest.bins, reading.logits[0], t)
    : restAt({ ...reading, tail: null }, t, row.rest.n[1] + reading.logits.length);
  return { ...row, t, weights: scaled(reading, t), rest };
}

/** @param {Row} row @param {{k: number}} params @param {Reading} reading @returns {Row} */
function best(row, { k }, { logits }) {
  const size = logits.length;
  if (k > size) return { ...row, rest: bestOf(row, k - size, logits) };
  const worst = logits[k - 1];
  const alive = row.alive.map((was, i) => (logits[i] >= worst ? was : 0));
  if (worst > logits[size - 1] || row.rest.n[1] === 0) return { ...row, alive, rest: NOTHING };
  const equal = row.rest.bins ? row.rest.bins[0].n[1] : row.rest.n[1];  // the k-th may have equals outside the head
  return { ...row, alive, rest: { weight: [0, equal * row.weights[size - 1]], n: [0, equal], bins: null } };
}

/** The n best outside the head. @param {Row} row @param {number} n @param {number[]} logits @returns {Rest} */
function bestOf(row, n, logits) {
  if (n >= row.rest.n[1]) return row.rest;
  if (!row.rest.bins) return { weight: [0, row.rest.weight[1]], n: [Math.min(n, row.rest.n[0]), row.rest.n[1]], bins: null };
  const kept = [];
  let left = n;
  for (const bin of row.rest.bins) {
    if (left <= 0) break;
    kept.push({ ...bin, n: /** @type {Range} */ ([Math.min(left, bin.n[0]), bin.n[1]]) });
    left -= bin.n[0];
  }
  return restOf(kept, logits[0], row.t);
}

/** @param {Row} row @param {{p: number}} params @returns {Row} */
function nucleus(row, { p }) {
  const [low, high] = total(row);
  const surely = p * low - NEAR * high, possibly = p * high + NEAR * high;
  let above = 0;
  const alive = row.weights.map((weight, i) => {
    const before = above;
    if (row.alive[i]) above += weight;
    if (!row.alive[i] || (before >= possibly && i > 0)) return 0;
    return before < surely || i === 0 ? row.alive[i] : 0.5;
  });
  if (above >= possibly) return { ...row, alive, rest: NOTHING };
  const least = row.weights[row.weights.length - 1];
  const reach = { low: Math.max(0, surely - above), high: possibly - above };
  const weight = /** @type {Range} */ ([Math.min(reach.low, row.rest.weight[1]), Math.min(row.rest.weight[1], reach.high + least)]);
  const n = /** @type {Range} */ ([Math.min(row.rest.n[1], Math.ceil(reach.low / least)), row.rest.n[1]]);
  return { ...row, alive, rest: { weight, n, bins: null } };
}

/** @param {Row} row @param {{p: number}} params @param {Reading} reading @returns {Row} */
function likelyEnough(row, { p }, { logits }) {
  if (p <= 0) return row;
  const alive = row.alive.map((was, i) => (row.weights[i] >= p ? was : 0));
  if (p > row.weights[row.weights.length - 1]) return { ...row, alive, rest: NOTHING };
  const { rest } = row;
  if (!rest.bins) return { ...row, alive, rest: { weight: [0, rest.weight[1]], n: [0, rest.n[1]], bins: null } };
  const edge = logits[0] + row.t * Math.log(p);
  const bins = rest.bins.filter(({ high }) => high >= edge)
    .map((bin) => (bin.low >= edge ? bin : { ...bin, low: edge, n: /** @type {Range} */ ([0, bin.n[1]]) }));
  return { ...row, alive, rest: restOf(bins, logits[0], row.t) };
}

// ------------------------------------------------------------------------------------------------- numbers

/** @param {number} weight @param {number} alive @returns {Range} */
function span(weight, alive) {
  return [alive === 1 ? weight : 0, alive > 0 ? weight : 0];
}

/** @param {Range[]} ranges @returns {Range} */
function sum(ranges) {
  return ranges.reduce(([low, high], [a, b]) => /** @type {Range} */ ([low + a, high + b]), [0, 0]);
}

/** @param {Row} row @returns {Range} */
function total(row) {
  return sum([...row.weights.map((weight, i) => span(weight, row.alive[i])), row.rest.weight]);
}

/** The probability of the i-th of the head. @param {Row} row @param {number} i @returns {Range} */
function shareOf(row, i) {
  if (!row.alive[i]) return [0, 0];
  const [low, high] = total(row), weight = row.weights[i];
  const without = row.alive[i] === 1 ? 0 : weight;
  return [row.alive[i] === 1 ? weight / high : 0, Math.min(1, weight / (low + without))];
}

/** @param {Row} row @returns {Range} how many are alive */
function living(row) {
  return sum([...row.alive.map((alive) => span(1, alive)), row.rest.n]);
}

/** Entropy where everything alive is known. @param {Row} row @param {Reading} reading */
function entropy(row, reading) {
  if (row.t === 1 && row.alive.every((each) => each === 1) && row.rest.n[0] > 0 && row.rest.n[0] === row.rest.n[1]) return reading.entropyBits;
  if (row.rest.n[1] > 0 || row.alive.includes(0.5)) return null;
  const [all] = total(row);
  return row.weights.reduce((bits, weight, i) => (row.alive[i] && weight > 0 ? bits - (weight / all) * Math.log2(weight / all) : bits), 0);
}

/** @param {string} name @param {object} params @param {Row | null} before @param {Row} after @param {Reading} reading */
function record(name, params, before, after, reading) {
  const [low, high] = living(after);
  const [was, were] = before ? living(before) : [low, high];
  const mass = before && name !== "temperature" ? kept(before, after) : /** @type {Range} */ ([1, 1]);
  const gone = /** @type {Range} */ ([Math.max(0, was - high), were - low]);
  return {
    name, params, ...known("alive", [low, high]), ...known("mass_kept", mass), ...known("removed", low === was && high === were ? [0, 0] : gone),
    entropy_bits: entropy(after, reading), argmax: reading.ids[0], changed: name === "temperature" ? number([low, high]) : 0, facts: {},
  };
}

/** @param {Row} before @param {Row} after @returns {Range} */
function kept(before, after) {
  if (after === before) return [1, 1];
  const [low, high] = total(after), [was, were] = total(before);
  const lost = sum(before.weights.map((weight, i) => (before.alive[i] && !after.alive[i] ? span(weight, 1) : /** @type {Range} */ ([0, 0]))));
  const share = /** @type {Range} */ ([low / were, Math.min(1, high / was)]);
  return after.rest === before.rest && lost[1] === 0 && !after.alive.includes(0.5) ? [1, 1] : share;
}

/** A quantity as a number, or null with its interval beside it. @param {string} name @param {Range} range */
export function known(name, range) {
  const value = number(range);
  return value === null ? { [name]: null, [`${name}_range`]: range } : { [name]: value };
}

/** How the i-th of the head left, or null. @param {Row[]} rows @param {any[]} stages @param {number} i */
function removal(rows, stages, i) {
  const at = rows.findIndex((row) => row.alive[i] === 0);
  if (at < 0) return null;
  if (at === 0) return { stage: "model", rank: null, p: 0 };
  return { stage: stages[at].name, rank: i + 1, p: number(shareOf(rows[at - 1], i)) };
}
