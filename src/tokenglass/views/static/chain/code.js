/** The same configuration as a program, to take along. */

import { copyButton } from "../lib/clip.js";
import { fill, h } from "../lib/dom.js";

/** @param {import("./panel.js").ChainPanel} panel */
export function codeBox(panel) {
  const shown = h("div.stack");
  const element = /** @type {HTMLDetailsElement} */ (h("details.code", { ontoggle: () => load() }, h("summary", {}, "the same as code"), shown));
  const load = async () => {
    if (!element.open) return;
    try {
      const found = await panel.store.ask("chain");
      fill(shown, listing("transformers", found.code), listing("tokenglass", found.tokenglass_code));
    } catch (error) {
      fill(shown, h("p.error", {}, /** @type {Error} */ (error).message));
    }
  };
  return { element, moved: load };
}

/** @param {string} name @param {string} code */
function listing(name, code) {
  return h("div", {}, h("div.row", {}, h("h3", {}, name), copyButton(`copy ${name} code`, () => code)), h("pre.listing", { tabindex: "0" }, code));
}
