/**
 * The tree of the session that was asked for last, kept whole while answers hold only what changed in it.
 *
 * A tree of thousands of places is megabytes. Whoever asks for a state names the revision it has (`tree.revision` of
 * the state before); the answer then holds the rows that are new or other, and the numbers of places that are gone.
 * Above a backend nobody notices: its states hold all rows.
 */

export class TreeMemory {
  #session = "";
  #revision = -1;
  /** @type {Map<number, any>} */
  #rows = new Map();

  /**
   * An answer with its whole tree; anything else as it is.
   *
   * @param {any} answer
   * @param {(session: string) => Promise<any>} ask for a state with all rows, where they cannot be put together here
   */
  async whole(answer, ask) {
    if (!answer?.session || !answer.tree) return answer;
    const tree = this.#taken(answer.session, answer.tree) ?? this.#taken(answer.session, (await ask(answer.session)).tree);
    return { ...answer, tree: tree ?? answer.tree };
  }

  /** @param {string} session @param {any} tree */
  #taken(session, tree) {
    if (tree.since === null) this.#begin(session);
    else if (session !== this.#session || tree.since > this.#revision || tree.revision < this.#revision) return null;
    for (const node of tree.gone) this.#rows.delete(node);
    for (const row of tree.nodes) this.#rows.set(row.node, row);  // one that was there keeps its place in the order
    this.#revision = tree.revision;
    return this.#rows.size === tree.n_nodes ? { ...tree, since: null, nodes: [...this.#rows.values()], gone: [] } : null;
  }

  #begin(/** @type {string} */ session) {
    this.#session = session;
    this.#rows = new Map();
  }
}
