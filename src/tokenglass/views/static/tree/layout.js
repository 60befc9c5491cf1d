/**
 * Where each place of a tree stands: a lane for every text, a child on its parent's lane where it is the first.
 *
 * @typedef {object} Placed
 * @property {any} row of the state's tree
 * @property {Placed[]} children all of them
 * @property {Placed[]} shown those that are drawn after it
 * @property {Placed | null} from the place before it in the drawing
 * @property {number} lane from 0
 * @property {number} x where its sign stands, in pixels
 * @property {number} width of sign and token
 * @property {number} hidden how many places behind it are folded away or left out
 * @property {boolean} diverges whether it is where a lane leaves another
 */

const SIGN = 26, PAD = 14, LETTER = 8.6, LONGEST = 18, COUNT = 34, ROOT = 72;
const RUN = 24, TAIL = 8;  // of a longer run without a branch only the beginning and the end are drawn
export const MOST_LANES = 60;

/**
 * @param {any[]} rows @param {Set<number>} folded @param {number} here
 */
export function layout(rows, folded, here) {
  const byId = linked(rows);
  const root = /** @type {Placed} */ (byId.get(rows[0].node));
  const state = { lanes: 0, left: 0, here, passed: new Set() };
  root.x = 0;
  root.width = SIGN + ROOT;
  place(root, folded, state);
  const shown = [...byId.values()].filter((node) => node.lane >= 0);
  return {
    root, byId, shown, here,
    lanes: state.lanes, left: state.left,
    leaves: [...byId.values()].filter((node) => !node.children.length).length,
    width: Math.max(...shown.map((node) => node.x + node.width)),
    below: (/** @type {Placed} */ node, /** @type {number} */ by) => nearest(shown, node, by)?.row.node,
  };
}

/** @param {any[]} rows @returns {Map<number, Placed>} */
function linked(rows) {
  const found = new Map(rows.map((row) => [row.node, /** @type {Placed} */ ({ row, children: [], shown: [], from: null, lane: -1, x: 0, width: 0, hidden: 0, diverges: false })]));
  for (const node of found.values()) if (node.row.parent !== null) found.get(node.row.parent)?.children.push(node);
  return found;
}

/** Iterative, because a text may be thousands of tokens long. @param {Placed} root @param {Set<number>} folded @param {{lanes: number, left: number, here: number, passed: Set<Placed>}} state */
function place(root, folded, state) {
  /** @type {{node: Placed, fresh: boolean}[]} */
  const waiting = [{ node: root, fresh: true }];
  while (waiting.length) {
    const { node, fresh } = /** @type {{node: Placed, fresh: boolean}} */ (waiting.pop());
    if (fresh && state.lanes >= MOST_LANES) {
      state.left += 1;
      continue;
    }
    node.lane = fresh ? state.lanes++ : state.lanes - 1;
    follow(node, folded, state);
    if (node.hidden) node.width += COUNT;
    node.shown.forEach((child, index) => {
      child.from = node;
      child.x = node.x + node.width;
      child.width = SIGN + PAD + LETTER * Math.min(LONGEST, [...(child.row.token ?? "")].length + (child.row.count > 1 ? 3 : 0));
      child.diverges = index > 0;
    });
    for (const child of [...node.shown].reverse()) waiting.push({ node: child, fresh: child !== node.shown[0] });
  }
}

/** Which places are drawn after one: none where it is folded, a later one where a long run is left out. @param {Placed} node @param {Set<number>} folded @param {{here: number, passed: Set<Placed>}} state */
function follow(node, folded, { here, passed }) {
  const fold = folded.has(node.row.node);
  node.shown = fold ? [] : node.children;
  node.hidden = fold ? size(node) - 1 : 0;
  if (fold || passed.has(node)) return;
  const run = [node];
  for (let last = node; last.children.length === 1 && (last === node || !(last.row.name || last.row.node === here || folded.has(last.row.node))); last = run[run.length - 1]) run.push(last.children[0]);
  for (const each of run.slice(1)) passed.add(each);
  if (run.length <= RUN) return;
  node.shown = [run[run.length - TAIL]];
  node.hidden = run.length - TAIL - 1;
}

/** @param {Placed} node */
function size(node) {
  let found = 0;
  const waiting = [node];
  for (let each = waiting.pop(); each; each = waiting.pop()) {
    found++;
    waiting.push(...each.children);
  }
  return found;
}

/** The place of the next lane up or down that stands nearest. @param {Placed[]} shown @param {Placed} node @param {number} by */
function nearest(shown, node, by) {
  const lanes = [...new Set(shown.map((each) => each.lane))].sort((a, b) => (a - b) * by).filter((lane) => (lane - node.lane) * by > 0);
  const inLane = shown.filter((each) => each.lane === lanes[0]);
  return inLane.sort((a, b) => Math.abs(a.x - node.x) - Math.abs(b.x - node.x))[0];
}
