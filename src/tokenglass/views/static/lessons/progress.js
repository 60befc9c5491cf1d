/** What the reader has done, kept while the page is open and nowhere else. */

import { announce } from "../lib/announce.js";

/** Events: "progress" after anything changed. */
export class Progress extends EventTarget {
  /** @type {import("./chapters.js").Chapter | null} */
  chapter = null;
  /** @type {Map<import("./chapters.js").Chapter, {done: Set<number>, answer: number | null}>} */
  #known = new Map();
  #app;

  /** @param {any} app whose backend is watched from now on */
  constructor(app) {
    super();
    this.#app = app;
    const { backend } = app;
    for (const how of /** @type {const} */ (["call", "stream"])) {
      const plain = backend[how].bind(backend);
      backend[how] = async (/** @type {string} */ op, params = {}, options = {}) => {
        const answer = await plain(op, params, options);
        this.#notice({ op, params, answer, did: null });
        return answer;
      };
    }
    document.addEventListener("tokenglass:did", (event) => this.#notice({ op: "", params: {}, answer: null, did: event.detail }));
  }

  /** @param {import("./chapters.js").Chapter} chapter */
  of(chapter) {
    if (!this.#known.has(chapter)) this.#known.set(chapter, { done: new Set(), answer: null });
    return /** @type {{done: Set<number>, answer: number | null}} */ (this.#known.get(chapter));
  }

  /** The step that is next, or -1 when all are done. */
  next(chapter) {
    const { done } = this.of(chapter);
    return chapter.steps.findIndex((_, index) => !done.has(index));
  }

  finished(chapter) {
    return this.next(chapter) < 0 && (!chapter.question || this.of(chapter).answer === chapter.question.right);
  }

  /** Begin a chapter or go on with it; null ends it. */
  begin(/** @type {import("./chapters.js").Chapter | null} */ chapter) {
    this.chapter = chapter;
    this.#tell();
  }

  answer(/** @type {number} */ option) {
    if (!this.chapter?.question) return;
    this.of(this.chapter).answer = option;
    announce(option === this.chapter.question.right ? `right: ${this.chapter.question.because}` : "not quite, try another");
    this.#tell();
  }

  /** The step that is next counts, and no other: they build on one another. */
  #notice(doing) {
    if (!this.chapter) return;
    const at = this.next(this.chapter);
    if (at < 0 || !this.chapter.steps[at].done(doing, this.#app)) return;
    this.of(this.chapter).done.add(at);
    announce(`done: step ${at + 1} of ${this.chapter.steps.length}`);
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("progress"));
  }
}
