/**
 * The session that Explore, the chain and the tree share: its last state, and one move after the other.
 *
 * Events: "state" (detail: {op, state, before}), "failed" (detail: {op, error}), "working" (detail: boolean).
 */

import { isAbort } from "./backend.js";

const SHELF = 20;

export class SessionStore extends EventTarget {
  /** @type {any} the last state, or null before the first */
  state = null;
  /** @type {Record<string, any>} what the reader set */
  config = {};
  /** @type {{session: string, text: string}[]} texts that were written before this one, the latest first */
  shelf = [];
  /** rows of the next-token table */
  rows = 10;
  /** @type {Record<string, any> | null} keywords that wait to be sent */
  #wanted = null;
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

  /** What every move names: the session, how many rows, and which tree is here already. */
  get #here() {
    const { session, tree } = this.state;
    return { session, n: this.rows, since: tree.revision };
  }

  get busy() {
    return this.#waiting > 0;
  }

  /**
   * Begin anew. A text with tokens written by the model goes on the shelf; one that was only a prompt is let go.
   *
   * @param {{prompt?: string, messages?: object[], ids?: number[], parse_special?: boolean, config?: object}} asked
   */
  open(asked) {
    return this.#queue("open", () => ({ config: this.config, n: this.rows, ...asked }), (before) => this.#shelve(before));
  }

  #shelve(before) {
    if (!before) return;
    if (before.tree.nodes.length > 1) this.shelf = [shelved(before), ...this.shelf].slice(0, SHELF);
    else this.#backend.call("close", { session: before.session }).catch(() => {});
  }

  /** Go on with a state that came another way, such as a session that was opened from a file. */
  take(state) {
    return this.#queue("open", () => state, (before) => this.#shelve(before), async (found) => found);
  }

  /** Take a text from the shelf again. */
  reopen(/** @type {string} */ session) {
    return this.#queue("state", () => ({ session, n: this.rows }), (before) => {
      this.shelf = this.shelf.filter((each) => each.session !== session);
      if (before) this.shelf.unshift(shelved(before));
    });
  }

  /**
   * Set all keywords; of several wishes in a row only the last is sent.
   *
   * @param {Record<string, any>} config
   */
  configure(config) {
    const waits = this.#wanted !== null;
    this.#wanted = config;
    if (waits) return this.#last;
    return this.#queue("set", () => {
      const wanted = this.#wanted;
      this.#wanted = null;
      return { ...this.#here, config: wanted };
    });
  }

  /** Turn sampling on where it is off; resolves with whether it had to. */
  async draws() {
    if (this.config.do_sample) return false;
    return Boolean(await this.configure({ ...this.config, do_sample: true }));
  }

  /**
   * Make a move of this session: "step", "undo", "redo", "goto", "set", "expand", ... Moves wait for one another.
   *
   * @param {string} op
   * @param {object} [params] without the session
   * @returns {Promise<any>} the new state, or null where the move failed (told by "failed")
   */
  act(op, params = {}) {
    return this.#queue(op, () => ({ ...this.#here, ...params }));
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
    const onItem = (item) => this.dispatchEvent(new CustomEvent("item", { detail: { op, item } }));
    return this.#queue(op, () => ({ ...this.#here, ...params }), undefined,
      (asked) => this.#backend.stream(op, asked, { signal, onItem }));
  }

  /**
   * @param {string} op @param {() => object} params made when its turn has come
   * @param {(before: any) => void} [after] told the state before
   * @param {(asked: object) => Promise<any>} [send]
   */
  #queue(op, params, after, send = (asked) => this.#backend.call(op, asked)) {
    this.#count(1);
    this.#last = this.#last.then(async () => {
      try {
        const before = this.state;
        const state = await send(params());
        after?.(before);
        this.#arrive(op, state);
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

  #arrive(/** @type {string} */ op, state) {
    if (!state?.session) return;
    const before = this.state;
    this.state = state;
    if (state.config?.given) this.config = state.config.given;
    this.dispatchEvent(new CustomEvent("state", { detail: { op, state, before } }));
  }
}

/** A text on the shelf, in its safe display form. */
function shelved({ session, tokens }) {
  return { session, text: tokens.map((each) => each.token).join("").replaceAll("·", " ") };
}
