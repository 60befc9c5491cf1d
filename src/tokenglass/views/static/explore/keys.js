/** The keys of Explore. */

/**
 * @param {import("./view.js").Explore} view
 * @returns {import("../lib/keys.js").Binding[]}
 */
export function exploreKeys(view) {
  const state = () => view.store.state;
  const open = () => state() && !state().finish_reason && !view.guess.hides;
  return [
    { key: "Enter", label: "append best", foot: true, when: open, run: () => view.best() },
    { key: "1-9", label: "append that", foot: true, when: open, run: (event) => view.pick(view.choices[Number(event.key) - 1]) },
    { key: " ", label: "draw", foot: true, when: open, run: () => view.draw() },
    { key: "ArrowLeft", label: "move", foot: true, shown: "← →", run: () => view.text.move(-1) },
    { key: "ArrowRight", label: "move on", run: () => view.text.move(1) },
    { key: "u", label: "undo", foot: true, when: () => state()?.can_undo, run: () => view.undo() },
    { key: "y", label: "redo", foot: true, when: () => state()?.can_redo, run: () => view.store.act("redo") },
    { key: "k", label: "chain", foot: true, run: () => view.chain.open() },
    { key: "v", label: "tree", foot: true, run: () => view.tree.open() },
    { key: "w", label: "play, or stop", foot: true, when: () => open() && view.app.backend.can("play"), run: () => view.play.toggle() },
    { key: "p", label: "when playing pauses", when: () => view.app.backend.can("play"), run: () => view.play.conditions() },
    { key: "r", label: "draw the last token again", when: () => state()?.last?.origin === "sampled", run: () => view.reroll() },
    { key: "b", label: "branch", foot: true, when: () => view.anchor !== null, run: () => view.back() },
    { key: "/", label: "look up", foot: true, when: () => Boolean(state()), run: () => view.entry.ask("look") },
    { key: "t", label: "type a token", foot: true, when: () => Boolean(state()), run: () => view.entry.ask("type") },
    { key: "g", label: "guess", foot: true, run: () => view.guess.toggle() },
    { key: "e", label: "edit", foot: true, when: () => view.app.backend.can("tokenize"), run: () => view.edit() },
    { key: "c", label: "curve of all tokens", run: () => view.toggleCurve() },
    { key: "s", label: "spaces, ids and bytes", run: () => view.toggleMarks() },
    { key: "Escape", label: "back to the end of the text", run: () => view.release() },
  ];
}
