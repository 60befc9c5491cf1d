/**
 * Where numbers come from. The page asks a Backend and never fetches by itself, so that one set of components
 * runs on a server (HttpBackend), on a recording (recorded.js) and in a notebook.
 *
 * @typedef {object} CallOptions
 * @property {AbortSignal} [signal]
 * @property {(item: any) => void} [onItem] each item of a stream, in order
 *
 * @typedef {object} Backend
 * @property {(op: string, params?: object, options?: CallOptions) => Promise<any>} call a state it resolves with
 *   holds its whole tree, also where `since` was named
 * @property {(op: string, params?: object, options?: CallOptions) => Promise<any>} stream resolves with what the
 *   end of the stream says
 * @property {(op: string) => boolean} can whether the operation is there at all, and the model can answer it; known after `call("info")`
 * @property {(callback: (state: any) => void) => (() => void)} onPush states nobody asked for; returns how to stop
 */

import { TreeMemory } from "./trees.js";

/** What a backend says when it cannot: one sentence for the reader, and the field that caused it. */
export class BackendError extends Error {
  /** @param {string} message @param {{type?: string, field?: string | null, status?: number, retryAfter?: number}} [more] */
  constructor(message, { type = "Error", field = null, status = 0, retryAfter = 0 } = {}) {
    super(message);
    this.name = type;
    this.field = field;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Whether an error only says that the answer was no longer wanted. */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/**
 * The secret of this page, from the address once and then from the tab's own storage, so that it does not stay
 * in the address bar where it would be copied along.
 */
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (found) sessionStorage.setItem("tokenglass.token", found);
    const kept = found ?? sessionStorage.getItem("tokenglass.token");
    if (found) history.replaceState(null, "", location.pathname + location.search);
    return kept;
  } catch {
    return found;  // without storage the secret stays in the address
  }
}

/** @implements {Backend} */
export class HttpBackend {
  #base;
  #token;
  /** @type {Set<string>} */
  #operations = new Set(["info"]);
  #trees = new TreeMemory();

  /** @param {{base?: string, token?: string | null}} [options] */
  constructor({ base = "api/", token = takeToken() } = {}) {
    this.#base = base;
    this.#token = token;
  }

  can(/** @type {string} */ op) {
    return this.#operations.has(op);
  }

  onPush() {
    return () => {};
  }

  /** @param {string} op @param {object} [params] @param {CallOptions} [options] */
  async call(op, params = {}, { signal } = {}) {
    const answer = await (await this.#post(op, params, "application/json", signal)).json();
    if (op === "info") this.#operations = supported(answer);
    return this.#whole(answer);
  }

  /** With all places of its tree, of which an answer holds those that changed. @param {any} answer */
  #whole(answer) {
    return this.#trees.whole(answer, async (session) => (await this.#post("state", { session, n: 1 }, "application/json")).json());
  }

  /** @param {string} op @param {object} [params] @param {CallOptions} [options] */
  async stream(op, params = {}, { signal, onItem = () => {} } = {}) {
    const response = await this.#post(op, params, "text/event-stream", signal);
    for await (const { event, data } of events(response)) {
      if (event === "done") return this.#whole(data);
      if (event === "error") throw failure(data, response.status);
      onItem(data);
    }
    throw new BackendError("the connection ended before the answer did; try again", { type: "ConnectionLost" });
  }

  /** @param {string} op @param {object} params @param {string} accept @param {AbortSignal} [signal] */
  async #post(op, params, accept, signal) {
    /** @type {Record<string, string>} */
    const headers = { "Content-Type": "application/json", Accept: accept };
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    const response = await fetch(this.#base + op, { method: "POST", headers, body: JSON.stringify(params), signal }).catch((error) => {
      if (isAbort(error)) throw error;
      throw new BackendError("the server does not answer; is `tokenglass serve` still running?", { type: "ConnectionLost" });
    });
    if (!response.ok) throw failure(await response.json().catch(() => ({})), response.status, response.headers.get("Retry-After"));
    return response;
  }
}

/** What a backend can be asked for: what `info` lists and does not say to be beyond its model. @param {any} info @returns {Set<string>} */
export function supported({ operations }) {
  return new Set(["info", ...operations.filter((/** @type {any} */ each) => each.supported).map((/** @type {any} */ each) => each.name)]);
}

/** @param {any} body @param {number} status @param {string | null} [retryAfter] */
function failure(body, status, retryAfter = null) {
  const error = body?.error ?? body ?? {};
  const message = error.message ?? `the server answered ${status}`;
  return new BackendError(message, { type: error.type, field: error.field, status, retryAfter: Number(retryAfter ?? 0) });
}

/**
 * The events of a text/event-stream, their data parsed as JSON.
 *
 * @param {Response} response
 * @returns {AsyncGenerator<{event: string, data: any}>}
 */
async function* events(response) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let pending = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (pending + value).replace(/\r\n?/g, "\n").split("\n\n");
      pending = blocks.pop() ?? "";
      yield* blocks.map(parsed).filter((found) => found !== null);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** @param {string} block @returns {{event: string, data: any} | null} null for a comment that keeps the line open */
function parsed(block) {
  const lines = block.split("\n");
  const of = (/** @type {string} */ field) =>
    lines.filter((line) => line.startsWith(`${field}:`)).map((line) => line.slice(field.length + 1).replace(/^ /, ""));
  const data = of("data");
  return data.length ? { event: of("event")[0] ?? "item", data: JSON.parse(data.join("\n")) } : null;
}
