/** The lessons: a tour and six chapters that complete by doing. */

import { button, fill, h, sheet } from "../lib/dom.js";
import { CHAPTERS, TOUR } from "./chapters.js";
import { coach } from "./coach.js";
import { steps } from "./drawing.js";
import { Progress } from "./progress.js";

export class Lessons extends HTMLElement {
  /** @type {any} */
  app = null;
  /** @type {Progress} */
  #progress = (null);

  get keys() {
    return [{ key: "1-9", shown: "1–6", label: "begin a chapter", foot: true, run: (event) => CHAPTERS[Number(event.key) - 1] && this.#begin(CHAPTERS[Number(event.key) - 1]) },
      { key: "t", label: "the tour", foot: true, run: () => this.#begin(TOUR) }];
  }

  show() {
    if (!this.#progress) {
      sheet("parts/parts.css");
      this.#progress = new Progress(this.app);
      this.#progress.addEventListener("progress", () => this.#draw());
      coach(this.app, this.#progress);
    }
    this.#draw();
  }

  #draw() {
    const offered = (chapter) => chapter.needs.split(" ").every((op) => this.app.backend.can(op));
    fill(this, h("h2.unseen", {}, "Lessons"),
      h("p.lead", {}, "Short, in any order, and with the real thing: a step counts when you have done it. Nothing is stored; close the page and it is forgotten."),
      offered(TOUR) ? this.#card(TOUR, 0) : null,
      h("ol.chapters", {}, CHAPTERS.map((chapter, i) => offered(chapter) ? h("li", {}, this.#card(chapter, i + 1)) : null)));
  }

  /** @param {import("./chapters.js").Chapter} chapter @param {number} number */
  #card(chapter, number) {
    const finished = this.#progress.finished(chapter);
    const begun = this.#progress.of(chapter).done.size > 0;
    return h("article.chapter.panel", { class: finished ? "is-finished" : number ? "" : "is-tour" },
      h("h3", {}, number ? h("span.soft.number", {}, `${number} `) : null, chapter.title, finished ? h("span.tick", {}, " ✓ done") : null),
      h("p", {}, chapter.about), steps(this.#progress, chapter),
      button(finished ? "once more" : begun ? "go on" : "begin", () => this.#begin(chapter), { class: number || finished ? "" : "primary", "aria-label": `${finished ? "once more" : begun ? "go on" : "begin"}: ${chapter.title}` }));
  }

  #begin(chapter) {
    if (this.#progress.finished(chapter)) Object.assign(this.#progress.of(chapter), { done: new Set(), answer: null });
    this.#progress.begin(chapter);
    const step = chapter.steps[this.#progress.next(chapter)];
    if (step) this.app.go(step.view, step.args ?? null);
  }
}

customElements.define("tg-lessons", Lessons);
