/** What the page of lessons and the card have in common. */

import { button, h } from "../lib/dom.js";

/**
 * The steps as a row of marks.
 *
 * @param {import("./progress.js").Progress} progress @param {import("./chapters.js").Chapter} chapter
 */
export function steps(progress, chapter) {
  const { done } = progress.of(chapter);
  const marks = chapter.steps.map((step, i) => ({ is: done.has(i), text: step.text }));
  if (chapter.question) marks.push({ is: progress.finished(chapter), text: "the question" });
  return h("ol.marks", { "aria-label": `${marks.filter((mark) => mark.is).length} of ${marks.length} done` },
    marks.map((mark) => h("li", { class: mark.is ? "is-done" : "", title: mark.text }, h("span.unseen", {}, `${mark.text}: ${mark.is ? "done" : "not yet"}`))));
}

/** @param {import("./progress.js").Progress} progress @param {import("./chapters.js").Chapter} chapter */
export function question(progress, chapter) {
  if (!chapter.question) return h("p.now", {}, "That was the tour. Everything else on this page works the same way: do it, and undo it.");
  const { text, options, right, because } = chapter.question;
  const { answer } = progress.of(chapter);
  return h("div.question", {}, h("p.now", {}, text),
    h("div.options", { role: "group", "aria-label": "answers" }, options.map((option, i) => button(
      [h("span", { "aria-hidden": "true" }, answer === i ? (i === right ? "✓" : "✕") : "○"), option], () => progress.answer(i), { "aria-pressed": String(answer === i), dataset: { key: i } }))),
    h("p", { role: "status" }, answer === null ? "" : answer === right ? h("b", {}, `Right. ${because}`) : "Not quite. Try another."));
}
