/**
 * The session that Explore, the chain and the tree share: its last state, and one move after the other.
 *
 * Events: "state" (detail: {op, state, before}), "failed" (detail: {op, error}), "working" (detail: boolean).
 */

import { isAbort } from "./backend.js";

export class SessionStore extends EventTarget {
  /** @type {any} the last state, or null before the first */
  state = null;
  /** @type {Record<string, any>} what the reader set */
  config = {};
  #backend;
  /** @type {Promise<any>} */
  #last = Promise.resolve();
  #waiting = 0;

  /** @param {import("./backend.js").Backend} backend */
  constructor(backend) {
    super();
    this.#backend = backend;
    backend.onPush((state) => this.#arrive("push", state));
  }

  get busy() {
    return this.#waiting > 0;
  }

  /**
   * Begin anew with a prompt; what was written before stays with the server until it is closed.
   *
   * @param {string | object[]} prompt text or chat messages
   * @param {object} [more] of `open`
   */
  open(prompt, more = {}) {
    const asked = typeof prompt === "string" ? { prompt } : { messages: prompt };
    const old = this.state?.session;
    return this.#queue("open", () => ({ ...asked, config: this.config, ...more }), () => {
      if (old) this.#backend.call("close", { session: old }).catch(() => {});
    });
  }

  /**
   * Make a move of this session: "step", "undo", "redo", "goto", "set", "expand", ... Moves wait for one another.
   *
   * @param {string} op
   * @param {object} [params] without the session
   * @returns {Promise<any>} the new state, or null where the move failed (told by "failed")
   */
  act(op, params = {}) {
    return this.#queue(op, () => ({ session: this.state.session, ...params }));
  }

  /**
   * Ask about this session without changing it: "lookup", "at", "curve", "chain".
   *
   * @param {string} op @param {object} [params] @param {AbortSignal} [signal]
   */
  ask(op, params = {}, signal = undefined) {
    return this.#backend.call(op, { session: this.state.session, ...params }, { signal });
  }

  /**
   * Follow a stream of states, such as "play".
   *
   * @param {string} op @param {object} params @param {AbortSignal} [signal]
   */
  play(op, params, signal) {
    const onItem = (/** @type {any} */ item) => this.dispatchEvent(new CustomEvent("item", { detail: { op, item } }));
    return this.#queue(op, () => ({ session: this.state.session, ...params }), undefined,
      (asked) => this.#backend.stream(op, asked, { signal, onItem }));
  }

  /**
   * @param {string} op @param {() => object} params made when its turn has come
   * @param {() => void} [after]
   * @param {(asked: object) => Promise<any>} [send]
   */
  #queue(op, params, after, send = (asked) => this.#backend.call(op, asked)) {
    this.#count(1);
    this.#last = this.#last.then(async () => {
      try {
        const state = await send(params());
        this.#arrive(op, state);
        after?.();
        return state;
      } catch (error) {
        if (!isAbort(error)) this.dispatchEvent(new CustomEvent("failed", { detail: { op, error } }));
        return null;
      } finally {
        this.#count(-1);
      }
    });
    return this.#last;
  }

  #count(/** @type {number} */ by) {
    this.#waiting += by;
    this.dispatchEvent(new CustomEvent("working", { detail: this.busy }));
  }

  #arrive(/** @type {string} */ op, /** @type {any} */ state) {
    if (!state?.session) return;
    const before = this.state;
    this.state = state;
    if (state.config?.given) this.config = state.config.given;
    this.dispatchEvent(new CustomEvent("state", { detail: { op, state, before } }));
  }
}
