/** Tables that a screen reader can walk: a caption, column heads, one row header each. */

import { h } from "./dom.js";

/**
 * @typedef {object} Column
 * @property {string} name of the cell in a row
 * @property {import("./dom.js").Child} label
 * @property {boolean} [heads] whether its cells name their rows; the first column where none does
 * @property {"number" | "text" | "wide"} [align] numbers stand right in tabular figures; wide takes what is left
 *
 * @typedef {Record<string, any> & {class?: string, props?: Record<string, any>}} Row cells by column name
 */

/**
 * @param {object} options
 * @param {string} options.caption read out; shown only with `show`
 * @param {boolean} [options.show]
 * @param {Column[]} options.columns
 * @param {Row[]} options.rows
 * @param {Record<string, any>} [props]
 * @returns {HTMLTableElement}
 */
export function table({ caption, show = false, columns, rows }, props = {}) {
  const heads = columns.map((column) => h(`th.${column.align ?? "text"}`, { scope: "col" }, column.label));
  return /** @type {HTMLTableElement} */ (h("table", props,
    h("caption", { class: show ? "" : "unseen" }, caption),
    h("thead", {}, h("tr", {}, heads)),
    h("tbody", {}, rows.map((row) => tableRow(columns, row)))));
}

/** @param {Column[]} columns @param {Row} row */
export function tableRow(columns, row) {
  const heading = columns.find((column) => column.heads) ?? columns[0];
  return h("tr", { class: row.class ?? "", ...row.props }, columns.map((column) => {
    const heads = column === heading;
    return h(`${heads ? "th" : "td"}.${column.align ?? "text"}`, heads ? { scope: "row" } : {}, row[column.name]);
  }));
}
