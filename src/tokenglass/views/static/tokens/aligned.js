/** Two tokenizers on one text: wherever both have cut, a block ends; inside it they differ. */

import { fill, h } from "../lib/dom.js";
import { count } from "../lib/figures.js";
import { glyphs, joined } from "../lib/glyphs.js";
import { typed } from "../parts/prose.js";
import { menu } from "../parts/fields.js";

const TRAINED = "the small one of “train one”";

export class Aligned {
  #ask;
  /** @type {any} what the small one is trained on */
  #trained = null;
  #other = TRAINED;
  #head = h("div.row");
  #body = h("div.stack");

  /** @param {(params: any) => Promise<any>} ask */
  constructor(ask) {
    this.#ask = ask;
    this.element = h("section.stack", { "aria-label": "two tokenizers" }, this.#head, this.#body);
  }

  /** Which others there are. */
  offer(/** @type {string[]} */ models, /** @type {string} */ own) {
    const others = models.filter((name) => name !== own);
    this.#other = others[0] ?? TRAINED;
    fill(this.#head, menu("beside the model's tokenizer", [...others, TRAINED].map((value) => ({ value, label: value })), this.#other, (value) => { this.#other = value; this.draw(); }).label);
  }

  /** What the small one is trained with. */
  with(/** @type {{text: string, vocab_size: number}} */ { text, vocab_size }) {
    this.#trained = { train_on: text, vocab_size };
  }

  /** Put the trained one beside the model's own. */
  choose() {
    this.#other = TRAINED;
    const select = this.#head.querySelector("select");
    if (select) select.value = TRAINED;
  }

  async draw() {
    const found = await this.#ask(this.#other === TRAINED ? this.#trained : { other: this.#other });
    const same = found.blocks.filter((block) => block.a.length === 1 && block.b.length === 1).length;
    fill(this.#body,
      h("p", {}, h("b", {}, typed(found.a.name)), ` cuts this text into ${count(found.a.n_tokens, "token")}, `, h("b", {}, typed(found.b.name)), ` into ${count(found.b.n_tokens, "token")}. ${count(same, "token")} are the same on both sides.`),
      h("div.aligned", {}, h("div.names", { "aria-hidden": "true" }, h("span", {}, typed(found.a.name)), h("span", {}, typed(found.b.name))),
        h("ul.blocks", { "aria-label": "stretches that both cut out" }, found.blocks.map((block) => pair(found, block)))));
  }
}

function pair(found, block) {
  const row = (side) => h("span.duo-row", {}, joined(block[side].map((i) => found[side].tokens[i]), (token) =>
    h("span.tile.of-token", { title: `token ${token.id}` }, glyphs(token), h("small", {}, token.id))));
  const alike = block.a.length === 1 && block.b.length === 1;
  return h("li.duo", { class: alike ? "alike" : "" }, row("a"), row("b"));
}
