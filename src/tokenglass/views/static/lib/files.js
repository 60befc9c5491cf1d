/** A session carried away as a file, and brought back. */

import { button, fill, h } from "./dom.js";

const PART = 200_000;  // characters of a trace in one request; the server takes a mebibyte
const FORMATS = /** @type {[string, string][]} */ ([
  ["html", "a page that works from disk"], ["csv", "table (CSV)"], ["jsonl", "rows (JSON Lines)"],
  ["markdown", "table (Markdown)"], ["svg", "the tree as a picture (SVG)"], ["dot", "the tree (Graphviz)"],
]);

/**
 * Save, open and export, as far as the backend can.
 *
 * @param {import("../app.js").App} app
 */
export function fileMenu(app) {
  const { backend, store } = app;
  const told = h("p.error", { role: "alert", hidden: true });
  const guard = (/** @type {() => Promise<void>} */ work) => async () => {
    told.hidden = true;
    try {
      await work();
      menu.hidePopover?.();
    } catch (error) {
      told.hidden = false;
      told.textContent = /** @type {Error} */ (error).message;
    }
  };
  const pick = /** @type {HTMLInputElement} */ (h("input.unseen", { type: "file", accept: ".jsonl,.json,.txt", tabindex: -1, "aria-label": "a saved session" }));
  pick.addEventListener("change", guard(async () => {
    const [file] = pick.files ?? [];
    pick.value = "";
    if (file) {
      await open(app, await file.text());
      app.go("explore");
    }
  }));
  const menu = /** @type {any} */ (h("div.menu", { popover: "auto", id: "files" }));
  fill(menu,
    backend.can("save") ? button("save this session", guard(async () => download(await backend.call("save", { session: store.state.session })))) : null,
    backend.can("load") ? [button("open a saved session", () => pick.click()), pick] : null,
    backend.can("export") ? [h("p.note", {}, "export as"), FORMATS.map(([format, label]) =>
      button(label, guard(async () => download(await backend.call("export", { session: store.state.session, format })))))] : null,
    told);
  if (!backend.can("save") && !backend.can("export")) return null;
  const opener = button("files", () => {
    menu.togglePopover();
    const at = opener.getBoundingClientRect();
    menu.style.setProperty("top", `${at.bottom + 4}px`);
    menu.style.setProperty("right", `${Math.max(8, innerWidth - at.right)}px`);
  }, { "class": "files", "aria-haspopup": "true" });
  return [opener, menu];
}

/** @param {import("../app.js").App} app @param {string} text of a trace */
async function open(app, text) {
  let upload;
  for (let from = 0; from < text.length || from === 0; ) {
    let to = Math.min(text.length, from + PART);
    if (to < text.length && /[\uD800-\uDBFF]/.test(text[to - 1])) to -= 1;  // never through a pair
    const more = to < text.length;
    const answer = await app.backend.call("load", { part: text.slice(from, to), more, ...(upload ? { upload } : {}) });
    if (!more) return app.store.take(answer);
    upload = answer.upload;
    from = to;
  }
}

/** @param {{name: string, media_type: string, text: string}} file */
function download({ name, media_type: type, text }) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = /** @type {HTMLAnchorElement} */ (h("a", { href: address, download: name }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
