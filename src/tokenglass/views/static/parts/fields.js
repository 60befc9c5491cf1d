/** Fields of the small forms above each view. */

import { h } from "../lib/dom.js";
import { typed } from "./prose.js";

/**
 * A number with its label.
 *
 * @param {string} label
 * @param {number} value
 * @param {{min?: number, max?: number, step?: number, width?: string, onchange?: (value: number) => void}} [options]
 */
export function numberField(label, value, { min, max, step = 1, onchange = () => {} } = {}) {
  const input = h("input.figure", { type: "number", dataset: { key: label }, value, min, max, step, onchange: () => input.reportValidity() && onchange(Number(input.value)) });
  return { input, label: h("label", {}, h("span.small.soft", {}, label), input) };
}

/**
 * A menu with its label.
 *
 * @param {string} label
 * @param {{value: string, label: string}[]} options
 * @param {string} chosen
 * @param {(value: string) => void} [onchange]
 */
export function menu(label, options, chosen, onchange = () => {}) {
  const select = /** @type {HTMLSelectElement} */ (h("select", { onchange: () => onchange(select.value) },
    options.map((option) => h("option", { value: option.value, selected: option.value === chosen }, typed(option.label)))));
  return { select, label: h("label", {}, h("span.small.soft", {}, label), select) };
}

/**
 * A text of several lines that grows with what it holds; Ctrl+Enter or ⌘Enter runs.
 *
 * @param {string} label
 * @param {string} value
 * @param {{rows?: number, most?: number, run?: () => void, oninput?: (text: string) => void}} [options]
 */
export function textField(label, value, { rows = 2, most, run, oninput = () => {} } = {}) {
  const area = /** @type {HTMLTextAreaElement} */ (h("textarea.prompt", {
    rows, maxlength: most, spellcheck: "false", value, "aria-label": label,
    oninput: () => oninput(area.value),
    onkeydown: (event) => {
      if (run && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        run();
      }
    },
  }));
  return area;
}

/**
 * Choices of which one holds, as a row of toggles.
 *
 * @param {string} label
 * @param {{value: string, label: string}[]} options
 * @param {string} chosen
 * @param {(value: string) => void} onchange
 */
export function choices(label, options, chosen, onchange) {
  const name = `choice-${++made}`;
  return h("fieldset.choices", {}, h("legend.unseen", {}, label), options.map((option) =>
    h("label.choice", {}, h("input", { type: "radio", name, value: option.value, checked: option.value === chosen, dataset: { key: option.value }, onchange: () => onchange(option.value) }), h("span", {}, option.label))));
}

let made = 0;

/** A number that stands out, with what it is and what that means. */
export function fact(value, label, meaning = null) {
  return h("div.fact", {}, h("b", {}, value), h("span", {}, label), meaning && h("span.meaning", {}, meaning));
}
