/** The strip of buttons below the text. */

import { button, h } from "../lib/dom.js";
import { count } from "../lib/figures.js";
import { glyphs } from "../lib/glyphs.js";

const SHOWN = 60;  // characters of an earlier text

/** @param {import("./view.js").Explore} view */
export function tools(view) {
  const { state, shelf, busy } = view.store;
  const threat = (/** @type {number} */ n) => () => view.text.threaten(n);
  const can = (/** @type {string} */ op) => view.app.backend.can(op);
  return [
    can("open") && can("tokenize") ? button("edit the text", () => view.edit()) : null,
    button("undo", () => view.undo(), { disabled: !state.can_undo, onpointerenter: threat(1), onpointerleave: threat(0), onfocus: threat(1), onblur: threat(0) }),
    button(state.redo_token ? ["redo ", glyphs(state.redo_token)] : "redo", () => view.store.act("redo"), { "data-key": "redo", disabled: !state.can_redo }),
    can("play") ? [
      button(view.play.on ? "■ stop" : "▶ play", () => view.play.toggle(), { "data-key": "play", "aria-pressed": String(view.play.on), title: "the text goes on by itself, token after token", disabled: Boolean(state.finish_reason) }),
      button("pause at …", () => view.play.conditions(), { "data-key": "pauses", title: "when playing pauses by itself", "aria-expanded": String(view.play.open) })] : null,
    button("spaces, ids, bytes", () => view.toggleMarks(), { "aria-pressed": String(view.marks) }),
    button("guess first", () => view.guess.toggle(), { "aria-pressed": String(view.guess.on) }),
    shelf.length ? earlier(view, shelf) : null,
    busy ? h("span.busy", {}, "reading …") : null,
    h("span.note.push", {}, `${count(state.tokens.length, "token")}${state.step_ms >= 1 ? ` · ${Math.round(state.step_ms)} ms` : ""}`),
  ];
}

/** @param {import("./view.js").Explore} view @param {{session: string, text: string}[]} shelf */
function earlier(view, shelf) {
  const choose = (/** @type {any} */ event) => view.store.reopen(event.target.value);
  return h("select", { "aria-label": "earlier texts", onchange: choose },
    h("option", { value: "" }, `${count(shelf.length, "earlier text")} …`),
    shelf.map(({ session, text }) => h("option", { value: session }, text.slice(-SHOWN))));
}
