/**
 * The tour and six chapters. A step is done when the reader did it: each looks at what was asked of the backend and
 * what came back, or at what a view told of itself.
 *
 * @typedef {object} Doing
 * @property {string} op the operation, "" where a view tells
 * @property {any} params
 * @property {any} answer
 * @property {any} did what a view tells: {what, ...}
 *
 * @typedef {object} Step
 * @property {string} text what to do
 * @property {string} view where
 * @property {any} [args] for the view
 * @property {(doing: Doing, app: any) => boolean} done
 *
 * @typedef {object} Chapter
 * @property {string} title
 * @property {string} needs operations that its steps ask for
 * @property {string} about
 * @property {Step[]} steps
 * @property {{text: string, options: string[], right: number, because: string}} [question]
 */

const op = (/** @type {string} */ name, /** @type {(answer: any, params: any, app: any) => any} */ test = () => true) =>
  (doing, app) => doing.op === name && Boolean(test(doing.answer, doing.params, app));
const told = (/** @type {string} */ name, /** @type {(did: any) => any} */ test = () => true) =>
  (/** @type {Doing} */ { did }) => did?.what === name && Boolean(test(did));

const rank = (state) => state.last?.rank;
const given = (state) => state.config.given;
const opened = op("open", (state, params, app) => params.prompt && params.prompt !== app.info.default_prompt);
const cuts = (state) => state.next.stages.slice(1).some((stage) => stage.removed > 0);

/** @type {Chapter} */
export const TOUR = {
  title: "First tour", needs: "open step undo lookup set",
  about: "Six things to do with your own sentence, in two minutes.",
  steps: [
    { text: "Press e and type the beginning of a sentence of your own; Enter begins. Watch it being cut into tokens.", view: "explore", done: opened },
    { text: "Press Enter: the likeliest token is appended, and the table is new.", view: "explore", done: op("step", (state) => rank(state) === 1) },
    { text: "Press a digit from 2 to 9: take a token that the model finds less likely.", view: "explore", done: op("step", (state) => rank(state) > 1) },
    { text: "Press u: take it back. Nothing is lost, y brings it again.", view: "explore", done: op("undo") },
    { text: "Press / and look up any token: it has a rank and a probability, however small.", view: "explore", done: op("lookup") },
    { text: "In the chain beside the table, change the temperature and see the bars move.", view: "explore", done: op("set", (state) => given(state).temperature !== undefined) },
  ],
};

/** @type {Chapter[]} */
export const CHAPTERS = [
  {
    title: "Tokens", needs: "words merges train",
    about: "A model knows a fixed list of pieces of text. Whatever you write is cut into these before anything else happens.",
    steps: [
      { text: "Type something in which one word falls into three tokens or more: a rare word, a name, another language.", view: "tokens", args: { text: "", part: "layers" },
        done: op("words", (cut) => cut.words.some((word) => cut.tokens.filter((each) => each.span?.[0] >= word.span[0] && each.span[1] <= word.span[1]).length > 2)) },
      { text: "Under “merge by merge”, walk one word from its bytes to its tokens with the arrow key.", view: "tokens", args: { part: "merges" }, done: told("merge", (did) => did.at > 1 && did.at === did.of) },
      { text: "Under “train one”, train a tokenizer twice.", view: "tokens", args: { part: "train" }, done: told("trained") },
    ],
    question: {
      text: "Why did both trainings give exactly the same tokenizer?",
      options: ["Both began with the same random numbers", "Training only counts pairs; nothing is drawn", "The text was too short to differ"],
      right: 1, because: "The commonest pair is joined, again and again: counting has one result. Training a language model is different, it begins with random numbers.",
    },
  },
  {
    title: "The next token", needs: "open lookup at",
    about: "All a model does is give every token of its list a probability of coming next.",
    steps: [
      { text: "Open a sentence that breaks off where a fact must follow, such as “The capital of Italy is”.", view: "explore", done: opened },
      { text: "Look up (key /) a token that is not in the table. What is its rank?", view: "explore", done: op("lookup", ({ row }) => row.rank > 10) },
      { text: "Press ← to stand on an earlier token: what did the model expect there?", view: "explore", done: op("at") },
    ],
    question: {
      text: "Ten rows are shown. What do they and the row “all others” add up to?",
      options: ["That depends on the prompt", "Somewhat less than 100 %", "100 %"],
      right: 2, because: "Every token of the list has a share, however small, and all shares together are the whole.",
    },
  },
  {
    title: "Append and repeat", needs: "step undo",
    about: "A text is written by appending one token and asking again.",
    steps: [
      { text: "Append the likeliest token three times.", view: "explore", done: op("step", (state) => state.tokens.slice(-3).every((each) => !each.is_prompt && each.rank === 1)) },
      { text: "Take one back, and append another one in its place.", view: "explore", done: op("step", (state) => state.tree.nodes.length > state.tokens.filter((each) => !each.is_prompt).length + 1) },
      { text: "Go on from there with three tokens more. The old branch is still in the tree.", view: "explore", done: op("step", (state) => state.tree.nodes.some((node) => !node.on_path) && state.tokens.filter((each) => !each.is_prompt).length > 3) },
    ],
    question: {
      text: "What does the model read before it proposes the fourth new token?",
      options: ["The prompt and the three new tokens", "Only the last token", "Only the prompt"],
      right: 0, because: "What it wrote is text like any other to it. One unlikely token can turn everything that follows.",
    },
  },
  {
    title: "Temperature and cuts", needs: "set lookup",
    about: "To draw the next token instead of taking the best, its table is bent and cut first. That is the chain.",
    steps: [
      { text: "Set a temperature above 1 and look at the bars, before and after.", view: "explore", done: op("set", (state) => given(state).temperature > 1) },
      { text: "Cut the tail: a top_p below 1, or a top_k.", view: "explore", done: op("set", (state) => cuts(state) && (given(state).top_p < 1 || given(state).top_k > 0)) },
      { text: "Look up (key /) a token that a stage has removed, and read which.", view: "explore", done: op("lookup", ({ account }) => account.removed) },
    ],
    question: {
      text: "Temperature 2 instead of 1: what happens to the order of the tokens?",
      options: ["It is turned round", "It stays; the differences shrink", "It becomes random"],
      right: 1, because: "All logits are divided by 2, so the largest stays the largest. Only the draw becomes more adventurous.",
    },
  },
  {
    title: "Beams", needs: "film",
    about: "Greedy writing never looks back. A beam search keeps several beginnings alive and compares whole texts.",
    steps: [
      { text: "Watch a beam search as a film.", view: "strategies", args: { film: true }, done: told("film", (did) => did.kind === "beam") },
      { text: "Step backwards with ← and see a dropped text live again.", view: "strategies", args: { film: true }, done: told("film", (did) => did.kind === "beam" && did.backwards) },
      { text: "Find the step at which a finished text enters the bank, and follow its score.", view: "strategies", args: { film: true }, done: told("film", (did) => did.banked) },
    ],
    question: {
      text: "How can a beam search find a text that is likelier than greedy's?",
      options: ["It draws several times and keeps the best", "It uses a larger model", "A less likely token now may lead to likelier ones later"],
      right: 2, because: "The total of the whole text counts. Greedy cannot know what its first choice costs later; a beam keeps the alternatives.",
    },
  },
  {
    title: "Surprise", needs: "score",
    about: "A model can also read: it says how unexpected each token of a given text is, in bits.",
    steps: [
      { text: "Let it read a text of your own.", view: "read", done: told("scored", (did) => did.own) },
      { text: "Jump to the most surprising token. What had the model expected?", view: "read", done: told("read", (did) => did.peak) },
      { text: "Shade the text by entropy: where was the model undecided before it saw the token?", view: "read", done: told("shade", (did) => did.measure === "entropy") },
    ],
    question: {
      text: "A token has exactly 1 bit of surprise. How probable was it?",
      options: ["50 %", "10 %", "1 %"],
      right: 0, because: "Each bit halves the probability: 1 bit is one half, 2 bits a quarter, 10 bits about a thousandth.",
    },
  },
];
