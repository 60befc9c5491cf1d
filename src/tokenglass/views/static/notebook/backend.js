/** The notebook's kernel as a Backend: the same operations, carried by the messages of one widget. */

import { BackendError, supported } from "../lib/backend.js";
import { TreeMemory } from "../lib/trees.js";

/** Milliseconds without an answer after which the reader is told that the kernel is at work elsewhere. */
export const PATIENCE = 2000;

/** @typedef {{resolve: (value: any) => void, reject: (error: any) => void, onItem: (item: any) => void}} Waiting */

/** @implements {Backend} */
export class WidgetBackend {
  #model;
  #view = crypto.randomUUID();  // answers to another view of the same widget are not for this one
  #next = 1;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  /** @type {Set<string>} */
  #operations = new Set(["info"]);
  #trees = new TreeMemory();
  /** @type {Set<(state: any) => void>} */
  #pushed = new Set();
  /** @type {string | null} the session the cell was made for, until it was shown */
  #given;
  /** @type {(waits: boolean) => void} told when answers are late, and when they come again */
  onLate = () => {};
  #late = 0;
  #silent = 0;  // runs from a doubt whether anybody is there until somebody is heard

  /** @param {any} model of anywidget */
  constructor(model) {
    this.#model = model;
    this.#given = model.get("session_id");
    model.on("msg:custom", this.#heard);
    model.on("comm_live_update", this.#liveness);
  }

  /** The cell is gone. */
  close() {
    this.#model.off("msg:custom", this.#heard);
    this.#model.off("comm_live_update", this.#liveness);
    clearTimeout(this.#late);
    clearTimeout(this.#silent);
  }

  can(/** @type {string} */ op) {
    return this.#operations.has(op);
  }

  onPush(/** @type {(state: any) => void} */ callback) {
    this.#pushed.add(callback);
    return () => this.#pushed.delete(callback);
  }

  /** @param {string} op @param {any} [params] @param {import("../lib/backend.js").CallOptions} [options] */
  async call(op, params = {}, options = {}) {
    if (op === "open" && this.#given) {  // the first text is that of the session in Python
      const session = this.#given;
      this.#given = null;
      return this.#whole(await this.#ask("state", { session, n: params.n }, options));
    }
    const answer = await this.#ask(op, params, options);
    if (op === "info") this.#operations = supported(answer);
    return this.#whole(answer);
  }

  /** With all places of its tree, of which an answer holds those that changed. @param {any} answer */
  #whole(answer) {
    return this.#trees.whole(answer, (session) => this.#ask("state", { session, n: 1 }, {}));
  }

  /** @param {string} op @param {object} [params] @param {import("../lib/backend.js").CallOptions} [options] */
  async stream(op, params = {}, options = {}) {
    return this.#whole(await this.#ask(op, params, options));
  }

  /** @param {string} op @param {object} params @param {import("../lib/backend.js").CallOptions} options */
  #ask(op, params, { signal, onItem = () => {} }) {
    if (signal?.aborted) return Promise.reject(aborted());
    const number = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject, onItem });
      signal?.addEventListener("abort", () => {
        if (!this.#waiting.delete(number)) return;
        this.#send({ view: this.#view, number, stop: true });
        reject(aborted());
      });
      this.#send({ view: this.#view, number, op, params });
      this.#wait();
    });
  }

  /** A kernel that went takes nothing any more. @param {object} message */
  async #send(message) {
    try {
      await this.#model.send(message);
    } catch {
      this.#lose();
    }
  }

  /** What another view did, or Python; its answer tells what changed for that one. @param {any} data */
  async #push(data) {
    const state = await this.#whole(data);
    for (const callback of this.#pushed) callback(state);
  }

  #wait() {
    clearTimeout(this.#late);
    this.onLate(false);
    if (this.#waiting.size) this.#late = setTimeout(() => this.onLate(true), PATIENCE);
  }

  #heard = (/** @type {any} */ message) => {
    clearTimeout(this.#silent);
    if (message.event === "push" && message.view !== this.#view) {
      this.#push(message.data);
      return;
    }
    if (message.event === "failed") this.onFailed(message.data.message);
    const waiting = message.view === this.#view ? this.#waiting.get(message.number) : undefined;
    if (!waiting) return;
    if (message.event === "item") waiting.onItem(message.data);
    else {
      this.#waiting.delete(message.number);
      if (message.event === "answer") waiting.resolve(message.data);
      else if (message.event === "stopped") waiting.reject(aborted());
      else waiting.reject(new BackendError(message.data.message, message.data));
    }
    this.#wait();
  };

  /** The notebook says that the kernel went or came back, not which: a restarted one knows nothing of this view. */
  #liveness = () => {
    clearTimeout(this.#silent);
    this.#silent = setTimeout(() => this.#lose(), PATIENCE);
    this.#send({ view: this.#view, number: this.#next++, op: "info", params: {} });
  };

  #lose() {
    const reason = "the kernel was restarted; run the cell again";
    for (const { reject } of this.#waiting.values()) reject(new BackendError(reason, { type: "ConnectionLost" }));
    this.#waiting.clear();
    this.#wait();
    this.onLost(reason);
  }

  /** @type {(reason: string) => void} */
  onLost = () => {};
  /** @type {(reason: string) => void} told why the session cannot be shown where Python brought it */
  onFailed = () => {};
}

function aborted() {
  return new DOMException("stopped", "AbortError");
}
