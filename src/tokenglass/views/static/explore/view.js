/** Explore: the text is the instrument; everything else explains the gap after its last token. */

import { fill, h } from "../lib/dom.js";
import { glyphs } from "../lib/glyphs.js";

export class Explore extends HTMLElement {
  /** @type {import("../app.js").App} */
  app = /** @type {any} */ (undefined);

  connectedCallback() {
    this.app.store.addEventListener("state", () => this.#draw());
    this.app.store.open(this.app.info.default_prompt);
  }

  #draw() {
    fill(this, h("p", {}, this.app.store.state.tokens.map((/** @type {any} */ token) => glyphs(token))));
  }
}

customElements.define("tg-explore", Explore);
