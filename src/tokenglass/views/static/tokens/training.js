/** Training a tokenizer is counting: the same text gives the same tokenizer, every time. */

import { button, fill, h } from "../lib/dom.js";
import { count, integer } from "../lib/figures.js";
import { glyphs } from "../lib/glyphs.js";
import { did } from "../parts/did.js";
import { textField } from "../parts/fields.js";
import { Run } from "../parts/run.js";

const SAMPLE = "She sells sea shells by the sea shore. The shells she sells are sea shells, I'm sure. So if she sells sea shells on the sea shore, then I'm sure she sells sea shore shells.";
const BYTES = 256;
const SHOWN = 200;

export class Training {
  #ask;
  #compare;
  #text = textField("text to train on", SAMPLE, { rows: 4 });
  #size = h("input", { type: "range", min: BYTES, max: 600, value: 300, step: 1, "aria-label": "tokens of the vocabulary", oninput: () => this.#drawSize() });
  #said = h("output.number");
  #found = h("div.stack");
  #run = new Run({ go: "train twice" }, () => this.#work());

  /**
   * @param {(params: {text: string, vocab_size: number}) => Promise<any>} ask
   * @param {() => void} compare put it beside the model's own
   */
  constructor(ask, compare) {
    this.#ask = ask;
    this.#compare = compare;
    this.#drawSize();
    this.element = h("section.stack", { "aria-label": "train one" },
      h("p.note", {}, "Training starts with the 256 bytes, counts which two neighbours stand side by side most often, joins them to a new token, and counts again. No chance is involved."),
      h("label.stack", {}, h("span.small.soft", {}, "learn from this text"), this.#text),
      h("div.row.size", {}, h("span.small.soft", {}, "tokens of the vocabulary"), this.#size, this.#said, this.#run.button, this.#run.status), this.#run.error, this.#found);
  }

  /** What is trained, and how large. */
  get params() {
    return { text: this.#text.value, vocab_size: Number(this.#size.value) };
  }

  /** It came into sight. */
  shown() {
    if (!this.#found.firstChild) this.#run.start();
  }

  #drawSize() {
    fill(this.#said, `${this.#size.value} = ${BYTES} bytes + ${Number(this.#size.value) - BYTES} merges`);
  }

  async #work() {
    const found = await this.#ask(this.params);
    const print = (sha) => h("code", {}, sha.slice(0, 16));
    fill(this.#found,
      h("div.twins", {},
        h("div.panel", {}, h("span.small.soft", {}, "first training"), print(found.sha256[0])),
        h("b.equals", { "aria-label": found.same ? "the same as" : "different from" }, found.same ? "=" : "≠"),
        h("div.panel", {}, h("span.small.soft", {}, "second training"), print(found.sha256[1]))),
      h("p", {}, found.same ? "The same tokenizer, to the last byte (these are the fingerprints of both files). " : "They differ. ",
        found.vocab_size < found.asked ? `It ends at ${integer(found.vocab_size)} tokens: no pair is left that stands in the text twice. ` : "",
        `It cuts its own text of ${count(found.n_bytes, "byte")} into ${count(found.n_tokens, "token")}; the model's tokenizer, trained on far more text, into ${integer(found.n_tokens_model)}.`),
      h("h3", {}, `The ${count(found.merges.length, "merge")} it learned, in order`),
      h("ol.learned", {}, found.merges.slice(0, SHOWN).map((merge) => h("li", { title: `joined ${merge.count} times` }, glyphs(merge.left), h("span.soft", {}, " + "), glyphs(merge.right), h("span.small.soft.number", {}, ` ${merge.count}×`)))),
      found.merges.length > SHOWN ? h("p.note", {}, `and ${integer(found.merges.length - SHOWN)} more`) : null,
      h("div", {}, button("put it beside the model's tokenizer", () => this.#compare())));
    did({ what: "trained", same: found.same });
  }
}
