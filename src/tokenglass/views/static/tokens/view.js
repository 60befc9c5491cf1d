/** How a text becomes tokens: letters, words and tokens; merge by merge; by two tokenizers; by one trained here. */

import { announce } from "../lib/announce.js";
import { isAbort } from "../lib/backend.js";
import { fill, h, sheet } from "../lib/dom.js";
import { latest } from "../lib/latest.js";
import { choices, textField } from "../parts/fields.js";
import { Aligned } from "./aligned.js";
import { layers } from "./layers.js";
import { Merging } from "./merging.js";
import { Training } from "./training.js";

const SAMPLE = "Preposterous, I'm flabbergasted! 2,048 tokens, naïve café, 漢字";
const REST = 120;  // ms without typing before the text is cut again
const LONGEST = 4000;

export class Tokens extends HTMLElement {
  /** @type {any} */
  app = null;
  #part = "layers";
  #drawings = 0;
  #text = textField("text", SAMPLE, { most: LONGEST, oninput: () => this.#changed() });
  #parts = h("div");
  #error = h("p.error", { role: "alert", hidden: true });
  #layers = h("div");
  #merging = new Merging(() => this.app.refreshKeys());
  #aligned = new Aligned((params) => this.app.backend.call("align", { text: this.#text.value, ...params }));
  #training = new Training((params) => this.app.backend.call("train", params), () => { this.#aligned.choose(); this.#turn("align"); });
  #drawn = "";  // the text that is shown
  #changed = latest(async () => {
    if (this.#text.value !== this.#drawn) await this.#draw();
  }, REST);

  get keys() {
    return this.#part === "merges" ? this.#merging.keys : [];
  }

  show(/** @type {{text?: string, part?: string} | null} */ args) {
    const fresh = !this.firstChild;
    if (args?.text !== undefined) this.#text.value = args.text;
    if (fresh) this.#build();
    if (fresh || args) this.#turn(args?.part ?? this.#part);
  }

  #build() {
    sheet("parts/parts.css");
    fill(this, h("h2.unseen", {}, "Tokens"),
      h("div.form", {},
        h("p.lead", {}, "A model reads neither letters nor words but tokens: pieces of text from a fixed list, each known by its number."),
        this.#text, h("div.row", {}, this.#parts), this.#error),
      this.#layers, this.#merging.element, this.#aligned.element, this.#training.element);
    this.#aligned.offer(this.app.info.models, this.app.info.model.name);
  }

  #turn(/** @type {string} */ part) {
    const known = [
      { value: "layers", label: "letters, words, tokens", op: "words" }, { value: "merges", label: "merge by merge", op: "merges" },
      { value: "align", label: "two tokenizers", op: "align" }, { value: "train", label: "train one", op: "train" },
    ].filter(({ op, value }) => value === "layers" || this.app.backend.can(op));
    this.#part = part;
    fill(this.#parts, choices("what to see", known, part, (value) => this.#turn(value)));
    const shown = /** @type {Record<string, HTMLElement>} */ ({ layers: this.#layers, merges: this.#merging.element, align: this.#aligned.element, train: this.#training.element });
    for (const [name, element] of Object.entries(shown)) element.hidden = name !== part;
    this.app.refreshKeys();
    this.#draw();
  }

  async #draw() {
    this.#fail("");
    try {
      await this.#drawPart();
    } catch (error) {
      if (!isAbort(error)) this.#fail(/** @type {Error} */ (error).message);
    }
  }

  #fail(/** @type {string} */ message) {
    fill(this.#error, message);
    this.#error.hidden = !message;
  }

  async #drawPart() {
    const { backend } = this.app;
    const text = this.#drawn = this.#text.value;
    const drawing = ++this.#drawings;
    if (this.#part === "layers") {
      const cut = await this.#cut(text);
      if (drawing !== this.#drawings) return;  // the text has changed meanwhile
      fill(this.#layers, layers(cut));
      announce(`${cut.tokens.length} tokens`);
    } else if (this.#part === "merges") {
      const found = await backend.call("merges", { text });
      if (drawing === this.#drawings) this.#merging.take(found);
    } else if (this.#part === "align") {
      this.#aligned.with(this.#training.params);
      await this.#aligned.draw();
    } else {
      this.#training.shown();
    }
  }

  /** Letters and words too where the tokenizer says where it cuts, tokens alone where it does not. */
  async #cut(/** @type {string} */ text) {
    const { backend } = this.app;
    if (backend.can("words")) {
      try {
        return await backend.call("words", { text });
      } catch (error) {
        if (/** @type {Error} */ (error).name !== "Unsupported") throw error;
      }
    }
    return { ...await backend.call("tokenize", { text, add_special_tokens: false }), words: null, characters: null };
  }
}

customElements.define("tg-tokens", Tokens);
