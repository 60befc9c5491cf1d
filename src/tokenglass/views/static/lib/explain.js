/**
 * Every number explained at three depths, where it stands: the idea, the formula, the code.
 *
 * `term("entropy", "5.07 bits")` is a word with a dotted underline that opens its explanation.
 */

import { button, fill, h, layer } from "./dom.js";

/** @typedef {{title: string, idea: string, formula: string, code: string}} Explanation */

/** @type {Record<string, Explanation>} */
export const EXPLANATIONS = {
  p: {
    title: "probability",
    idea: "How likely the model finds this token here. All tokens of the vocabulary together make 100 %.",
    formula: "p(i) = exp(logit(i)) / Σ exp(logit(j))\nover all tokens j of the vocabulary",
    code: "model.next_tokens(prompt).lookup(token).p",
  },
  p_final: {
    title: "after the chain",
    idea: "How likely this token is to be drawn, once every stage of the chain has changed or removed what it wanted. What is left makes 100 % again.",
    formula: "p'(i) = exp(s(i)) / Σ exp(s(j))\ns: the scores after the last stage; removed tokens have s = −∞, so p' = 0",
    code: "model.next_tokens(prompt, do_sample=True).lookup(token).p_final",
  },
  vocabulary: {
    title: "candidates",
    idea: "The model scores every token it knows at every step, however unlikely. Nothing here is computed from a shortened list.",
    formula: "V = number of tokens in the vocabulary",
    code: "model.info.vocab_size",
  },
  entropy: {
    title: "entropy",
    idea: "How open the next token is. 0 bits: certain. One bit more means twice as many equally good choices.",
    formula: "H = −Σ p(i) · log₂ p(i)",
    code: "model.next_tokens(prompt).entropy_bits",
  },
  choices: {
    title: "effective choices",
    idea: "As uncertain as a fair die with this many faces.",
    formula: "2 ^ H, with H the entropy in bits",
    code: "2 ** model.next_tokens(prompt).entropy_bits",
  },
  surprisal: {
    title: "surprisal",
    idea: "How surprised the model was by the token that came. 1 bit: it gave it 50 %; 10 bits: about 0.1 %.",
    formula: "−log₂ p(token that came)",
    code: "-step.logprob / math.log(2)",
  },
  rank: {
    title: "rank",
    idea: "The place of a token when all are sorted by probability; 1 is the likeliest.",
    formula: "rank(i) = 1 + number of tokens with a larger logit",
    code: "model.next_tokens(prompt).lookup(token).rank",
  },
  logit: {
    title: "logit",
    idea: "The model's raw score. Only differences between logits mean anything: adding the same to all changes no probability.",
    formula: "logit(i) = W(i) · h\nh: the last hidden state, W(i): the output row of token i",
    code: "model.logits(prompt)[-1, token_id]",
  },
  chain: {
    title: "the chain",
    idea: "Between the model's probabilities and the token that is written stand stages, one after the other: some reshape the probabilities, some remove tokens. Their order matters.",
    formula: "logits → stage 1 → stage 2 → … → pick",
    code: "model.chain(do_sample=True, temperature=0.8)",
  },
  draw: {
    title: "the draw",
    idea: "All tokens that are left lie side by side on a line from 0 to 1, each as wide as it is likely. A random number u falls on one of them. The same seed gives the same u.",
    formula: "the first i with p'(1) + … + p'(i) > u, in order of token id",
    code: "step = session.step()\nstep.draw, step.cdf",
  },
  tree: {
    title: "the tree",
    idea: "Every token that was ever written from this prompt keeps its place. A disc is as large as its token was likely; a ring marks where the model was unsure (5 bits or more).",
    formula: "area of a disc ∝ p after the chain",
    code: "session.tree, session.goto(node)",
  },
  kept: {
    title: "mass kept",
    idea: "How much of the probability the tokens had that a stage let through.",
    formula: "Σ p(i) over the tokens kept, before they are made 100 % again",
    code: "step.stages[2].mass_kept",
  },
  temperature: {
    title: "temperature",
    idea: "Below 1 the likely become likelier still; above 1 all become more alike. At 1 nothing changes.",
    formula: "s(i) = logit(i) / T",
    code: "model.session(prompt, do_sample=True, temperature=0.8)",
  },
  top_k: {
    title: "top-k",
    idea: "Keep the k likeliest tokens, however likely the others are. transformers does so with k = 50 unless you say otherwise.",
    formula: "keep i if rank(i) ≤ k; 0 keeps all",
    code: "model.session(prompt, do_sample=True, top_k=50)",
  },
  top_p: {
    title: "top-p (nucleus)",
    idea: "Keep the likeliest tokens until together they reach p: few where the model is sure, many where it is not.",
    formula: "the smallest set of likeliest tokens with Σ p(i) ≥ p",
    code: "model.session(prompt, do_sample=True, top_p=0.9)",
  },
  min_p: {
    title: "min-p",
    idea: "Drop every token that is much less likely than the best one.",
    formula: "keep i if p(i) ≥ min_p · max p",
    code: "model.session(prompt, do_sample=True, min_p=0.05)",
  },
  repetition_penalty: {
    title: "repetition penalty",
    idea: "Tokens that stand in the text already, the prompt included, become less likely.",
    formula: "s(i) = logit(i) / r  where logit(i) > 0\ns(i) = logit(i) · r  where logit(i) < 0",
    code: "model.session(prompt, repetition_penalty=1.2)",
  },
};

/**
 * @param {string} name in EXPLANATIONS
 * @param {import("./dom.js").Child} [label] what is underlined; the term's own name if absent
 */
export function term(name, label) {
  const found = EXPLANATIONS[name];
  if (!found) return h("span", {}, label ?? name);
  return h("button.term", { type: "button", "aria-haspopup": "dialog", onclick: (/** @type {Event} */ event) => open(/** @type {HTMLElement} */ (event.currentTarget), found) }, label ?? found.title);
}

const DEPTHS = /** @type {const} */ (["idea", "formula", "code"]);

/** @param {HTMLElement} anchor @param {Explanation} found */
function open(anchor, found) {
  const body = h("div", { role: "tabpanel", tabindex: "0" });
  const tabs = DEPTHS.map((depth) => button(depth, () => show(depth), { role: "tab" }));
  const show = (/** @type {typeof DEPTHS[number]} */ depth) => {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(DEPTHS[i] === depth));
      tab.tabIndex = DEPTHS[i] === depth ? 0 : -1;
    });
    body.setAttribute("aria-label", depth);
    fill(body, depth === "idea" ? found.idea : h("pre", {}, found[depth]));
  };
  const list = h("div", { role: "tablist", "aria-label": "depth", onkeydown: (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (tabs.findIndex((tab) => tab.tabIndex === 0) + step + tabs.length) % tabs.length;
    show(DEPTHS[next]);
    tabs[next].focus();
  } }, tabs);
  const box = h("div.explain", { popover: "auto", role: "dialog", "aria-label": found.title,
    ontoggle: (event) => { if (event.newState === "closed") { box.remove(); anchor.focus(); } } },
  h("h3", {}, found.title), list, body);
  show("idea");
  layer().append(box);
  /** @type {any} */ (box).showPopover();
  place(box, anchor);
  tabs[0].focus();
}

/** Beside its word, inside the window. */
function place(/** @type {HTMLElement} */ box, /** @type {HTMLElement} */ anchor) {
  const at = anchor.getBoundingClientRect();
  const { width, height } = box.getBoundingClientRect();
  const below = at.bottom + height + 12 < innerHeight || at.top < height + 12;
  box.style.setProperty("left", `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`);
  box.style.setProperty("top", `${Math.max(8, Math.min(below ? at.bottom + 6 : at.top - height - 6, innerHeight - height - 8))}px`);
}
