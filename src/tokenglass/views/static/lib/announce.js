/** Changes said to a screen reader: politely, the latest one only, and never twice in a row. */

import { h } from "./dom.js";

/** @type {HTMLElement | null} */
let region = null;
let waiting = 0;

/**
 * Say a short sentence once nothing else has changed for a moment.
 *
 * @param {string} sentence
 */
export function announce(sentence) {
  region ??= document.body.appendChild(h("div.unseen", {
    role: "status", "aria-live": "polite",
    style: { position: "absolute", width: "1px", height: "1px", overflow: "hidden", "clip-path": "inset(50%)" },  // also where no style sheet of ours reaches
  }));
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (region && region.textContent !== sentence) region.textContent = sentence;
  }, 120);  // several changes of one key press become one sentence
}
