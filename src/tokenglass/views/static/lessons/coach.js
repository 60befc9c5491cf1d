/** The card that goes along into the other views: what to do now, and the question at the end. It covers nothing for good. */

import { button, fill, h } from "../lib/dom.js";
import { question, steps } from "./drawing.js";

/**
 * @param {any} app
 * @param {import("./progress.js").Progress} progress
 */
export function coach(app, progress) {
  const card = h("aside.coach.panel", { "aria-label": "lesson", hidden: true });
  let small = false;
  const draw = () => {
    const { chapter } = progress;
    card.hidden = !chapter;
    document.documentElement.toggleAttribute("data-coach", Boolean(chapter) && !small);
    if (!chapter) return;
    const at = progress.next(chapter);
    const step = chapter.steps[at];
    const away = step && location.hash !== `#${step.view}`;
    const now = step ? h("p.now", {}, step.text) : null;
    fill(card,
      h("header", {}, h("h2", {}, chapter.title), h("span.note.push", {}, step ? `step ${at + 1} of ${chapter.steps.length}` : progress.finished(chapter) ? "done" : "one question"),
        button(small ? "show" : "hide", () => { small = !small; draw(); }, { class: "plain small", "aria-expanded": String(!small), dataset: { key: "fold" } }),
        button("✕", () => { progress.begin(null); app.go("lessons"); }, { class: "plain small", "aria-label": "leave the lesson" })),
      small ? null : [steps(progress, chapter), now, step ? null : question(progress, chapter),
        h("div.row", {}, away ? button("take me there", () => app.go(step.view, step.args ?? null), { class: "primary" }) : null,
          !step && progress.finished(chapter) ? button("to the lessons", () => { progress.begin(null); app.go("lessons"); }, { class: "primary" }) : null)]);
  };
  progress.addEventListener("progress", draw);
  addEventListener("hashchange", draw);
  document.body.append(card);
  return card;
}
