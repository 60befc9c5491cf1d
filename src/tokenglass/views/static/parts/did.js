/** Views tell what the reader did in them; lessons listen. */

/** @param {{what: string} & Record<string, any>} detail */
export function did(detail) {
  document.dispatchEvent(new CustomEvent("tokenglass:did", { detail }));
}
