/** Words of these views, each explained at three depths. */

import { EXPLANATIONS } from "../lib/explain.js";

Object.assign(EXPLANATIONS, {
  total: {
    title: "running total",
    idea: "How likely the whole text so far is: the log-probabilities of its tokens added up. Nearer to 0 is likelier; every token makes it smaller.",
    formula: "total = Σ ln p(token | text before it)\ne ^ total = the probability of the whole text",
    code: "for record in model.search(prompt, num_beams=5):\n    record.candidates[0].total",
  },
  length_penalty: {
    title: "score of a finished text",
    idea: "Longer texts have smaller totals, because every token adds a negative number. So totals are divided by length to a power before they are compared; a larger power favours longer texts.",
    formula: "score = total / length ^ length_penalty",
    code: "model.generate(prompt, num_beams=5, length_penalty=1.0)",
  },
  contrastive: {
    title: "contrastive score",
    idea: "A candidate earns its probability and pays for being like what already stands in the text. That is how contrastive search avoids going in circles.",
    formula: "score = (1 − α) · p − α · (largest cosine with an earlier token)",
    code: "model.generate(prompt, penalty_alpha=0.6, top_k=4)",
  },
  cosine: {
    title: "cosine",
    idea: "How much two tokens mean the same to the model here: 1 is the same direction of its hidden state, 0 unrelated.",
    formula: "cos = (h · g) / (|h| |g|), h and g the last hidden states at the two places",
    code: "record.rows[0].cosine, record.rows[0].nearest",
  },
  dola: {
    title: "contrast of layers",
    idea: "What the last layer believes more than an earlier layer is what the model worked out late, such as facts. DoLa chooses by that gain.",
    formula: "contrast = ln p_last(token) − ln p_layer(token),\nlayer = the candidate layer with the largest Jensen-Shannon divergence from the last",
    code: "model.generate(prompt, dola_layers=\"low\")",
  },
  surprisal: {
    title: "surprise",
    idea: "How unexpected a token is: 0 bits if it was certain, 1 bit if it was a coin toss, 10 bits if it was one in a thousand.",
    formula: "surprise = −log₂ p(token | text before it)",
    code: "model.score(text).rows[5].surprisal_bits",
  },
  entropy_at: {
    title: "entropy",
    idea: "How undecided the model was before it saw the token, whatever came then. High entropy and little surprise: it was unsure and guessed right.",
    formula: "H = −Σ p(i) · log₂ p(i), over the whole vocabulary",
    code: "model.score(text).rows[5].entropy_bits",
  },
  perplexity: {
    title: "perplexity",
    idea: "As surprised as if it had to guess among so many equally likely tokens, at every token.",
    formula: "perplexity = 2 ^ (bits / number of scored tokens)",
    code: "model.score(text).perplexity",
  },
  bits_per_byte: {
    title: "bits per byte",
    idea: "What the text would take if the model compressed it, per byte of the original (8 bits). It compares models with different tokens.",
    formula: "bits per byte = Σ surprise / bytes of the scored text",
    code: "model.score(text).bits_per_byte",
  },
  tv: {
    title: "total variation",
    idea: "The share of the probability that would have to move from some tokens to others to turn A into B. 0 is no difference, 1 is nothing in common.",
    formula: "TV = ½ Σ |a(i) − b(i)|",
    code: "tg.compare(a, b, model=model).prompt_end.tv",
  },
  js: {
    title: "Jensen-Shannon divergence",
    idea: "How well one could tell from a single token whether A or B wrote it. 0 bits: not at all; 1 bit: always.",
    formula: "JS = ½ KL(a‖m) + ½ KL(b‖m), m = (a + b) / 2",
    code: "tg.compare(a, b, model=model).prompt_end.js_bits",
  },
  kl: {
    title: "Kullback-Leibler divergence",
    idea: "The extra surprise, in bits a token, of a reader who expects B while A writes. It is not the same in both directions, and endless where B rules out what A allows.",
    formula: "KL(a‖b) = Σ a(i) · log₂ (a(i) / b(i))",
    code: "tg.compare(a, b, model=model).prompt_end.kl_ab_bits",
  },
  merge: {
    title: "merge",
    idea: "Byte-pair encoding starts from single bytes and joins the pair of neighbours that stands first on a list learned from much text, again and again, until no pair of the list is left.",
    formula: "next merge = the neighbouring pair with the smallest place in the list; the leftmost of equals",
    code: "from tokenglass.tokenizer.history import merges\nmerges(model.tokenizer, \"flabbergasted\")",
  },
});

export { term } from "../lib/explain.js";
