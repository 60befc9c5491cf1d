/**
 * Every number explained at three depths, where it stands: the idea, the formula, the code.
 *
 * `term("entropy", "5.07 bits")` is a word with a dotted underline that opens its explanation.
 */

import { button, fill, h } from "./dom.js";

/** @typedef {{title: string, idea: string, formula: string, code: string}} Explanation */

/** @type {Record<string, Explanation>} */
export const EXPLANATIONS = {
  p: {
    title: "probability",
    idea: "How likely the model finds this token here. All tokens of the vocabulary together make 100 %.",
    formula: "p(i) = exp(logit(i)) / Σ exp(logit(j)), over all j of the vocabulary",
    code: "model.next_tokens(prompt).lookup(token).p",
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
    ontoggle: (/** @type {any} */ event) => { if (event.newState === "closed") { box.remove(); anchor.focus(); } } },
  h("h3", {}, found.title), list, body);
  show("idea");
  document.body.append(box);
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
