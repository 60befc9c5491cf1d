/** Recorded rows, unpacked: what stood at one place, as the page's other backends would tell it. */

import { known, number, others, reapplied } from "./reapply.js";

const KINDS = /** @type {const} */ ({ i4: Int32Array, f4: Float32Array, f8: Float64Array, u4: Uint32Array });

/** @param {string} text base64, little-endian @param {keyof KINDS} kind @returns {number[]} */
function unpacked(text, kind) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  return Array.from(new KINDS[kind](bytes.buffer));
}

/** One reading of a model: the likeliest tokens, and what is known of all the others. */
export class StoredReading {
  /** @param {any} row @param {Record<string, [string, string, string]>} tokens @param {number} vocabSize */
  constructor(row, tokens, vocabSize) {
    this.tokens = tokens;
    this.vocabSize = vocabSize;
    this.stages = row.stages;
    this.removed = row.removed;
    this.logsumexp = row.logsumexp;
    this.entropyBits = row.entropy_bits;
    this.ids = unpacked(row.ids, "i4");
    this.logits = unpacked(row.logits, "f4");
    this.final = unpacked(row.final, "f8");
    this.trail = row.trail === null ? null : unpacked(row.trail, "f4");
    this.tail = row.tail && { ...row.tail, counts: unpacked(row.tail.counts, "u4") };
  }

  /** What a token is called. @param {number} id */
  named(id) {
    const [token, bytes, kind] = this.tokens[id];
    return { id, token, bytes, kind };
  }

  /** A candidate's row with its numbers after the chain that was recorded. @param {number} i */
  recordedRow(i) {
    const removed = this.removed[this.ids[i]] ?? null;
    const trail = this.trail && this.stages.map((/** @type {any} */ _, /** @type {number} */ at) => /** @type {number[]} */ (this.trail)[at * this.ids.length + i]);
    return { ...this.modelRow(i), p_final: this.final[i], removed_by: removed?.stage ?? null, removed, ...(trail ? { trail } : {}) };
  }

  /** @param {number} i */
  modelRow(i) {
    const logit = this.logits[i], logprob = logit - this.logsumexp;
    return { rank: i + 1, ...this.named(this.ids[i]), logit, logprob, p: Math.exp(logprob) };
  }

  /**
   * The next-token table.
   *
   * @param {number} n rows @param {object | null} config keywords to put in force anew; null takes what was recorded
   */
  table(n, config) {
    const shown = Math.min(n, this.ids.length);
    const found = config ? this.#again(shown, config) : this.#recorded(shown);
    const rest = others({ weights: this.logits.map((logit) => Math.exp(logit - this.logits[0])), alive: this.ids.map(() => 1), t: 1, rest: this.#rest }, shown);
    return {
      vocab_size: this.vocabSize, coverage: 1, entropy_bits: this.entropyBits, effective_choices: this.entropyBits === null ? null : 2 ** this.entropyBits,
      rest_n: this.vocabSize - shown, ...known("rest_p", rest), ...found,
    };
  }

  /** The weight of all tokens outside the head: the sum is stored, so it is no guess. */
  get #rest() {
    const head = this.logits.reduce((sum, logit) => sum + Math.exp(logit - this.logits[0]), 0);
    const weight = this.ids.length >= this.vocabSize ? 0 : Math.max(0, Math.exp(this.logsumexp - this.logits[0]) - head);
    return { weight: /** @type {[number, number]} */ ([weight, weight]), n: /** @type {[number, number]} */ ([0, 0]), bins: null };
  }

  /** @param {number} shown */
  #recorded(shown) {
    const rows = this.ids.slice(0, shown).map((_, i) => this.recordedRow(i));
    const rest = Math.max(0, 1 - rows.reduce((sum, row) => sum + row.p_final, 0));
    return { rows, rest_p_final: rest, stages: this.stages };
  }

  /** @param {number} shown @param {object} config */
  #again(shown, config) {
    const found = reapplied(this, config, this.vocabSize);
    const rows = this.ids.slice(0, shown).map((_, i) => {
      const removed = found.removed[i];
      const trail = found.stages.length ? { trail: found.trail[i].map(number) } : {};
      return { ...this.modelRow(i), ...known("p_final", found.final[i]), removed_by: removed?.stage ?? null, removed, ...trail };
    });
    const stages = found.stages.map((stage) => ({ ...stage, argmax_token: this.named(stage.argmax).token }));
    return { rows, ...known("rest_p_final", others(found.rest, shown)), stages };
  }

  /** Where a token stands in the head, or -1. @param {number} id */
  place(id) {
    return this.ids.indexOf(id);
  }

  /** [rank, probability] of the head, then of each bin of the tail at its middle. */
  curve() {
    const points = this.ids.map((_, i) => [i + 1, Math.exp(this.logits[i] - this.logsumexp)]);
    if (!this.tail) return points;
    const { low, high, counts } = this.tail, width = (high - low) / (counts.length || 1);
    let rank = this.ids.length;
    for (let i = counts.length - 1; i >= 0; i--) {
      if (!counts[i]) continue;
      points.push([rank + Math.ceil(counts[i] / 2), Math.exp(low + (i + 0.5) * width - this.logsumexp)]);
      rank += counts[i];
    }
    return points;
  }
}
