/** Text into the reader's clipboard. */

import { announce } from "./announce.js";
import { button } from "./dom.js";

/** @param {string} label @param {() => string} text */
export function copyButton(label, text) {
  const found = button(label, async () => {
    try {
      await navigator.clipboard.writeText(text());
      found.textContent = "copied";
      announce("copied");
    } catch {
      found.textContent = "select it and copy by hand";
    }
    setTimeout(() => { found.textContent = label; }, 1500);
  });
  return found;
}
