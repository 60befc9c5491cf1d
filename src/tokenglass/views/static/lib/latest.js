/** Work that is asked for faster than it is done. */

/**
 * One run at a time, and then the latest wish.
 *
 * @template {any[]} A
 * @param {(...args: A) => Promise<void>} work
 * @param {number} [rest] milliseconds without a new wish before it begins
 * @returns {(...args: A) => void}
 */
export function latest(work, rest = 0) {
  let running = false;
  let timer = 0;
  /** @type {A | null} */
  let wish = null;
  const begin = async () => {
    if (running || !wish) return;
    const args = wish;
    wish = null;
    running = true;
    try {
      await work(...args);
    } finally {
      running = false;
      begin();
    }
  };
  return (...args) => {
    wish = args;
    clearTimeout(timer);
    if (rest) timer = setTimeout(begin, rest);
    else begin();
  };
}

/**
 * Drawing that may wait until what matters more is on the screen; many wishes are one.
 *
 * @param {() => void} work
 * @returns {() => void}
 */
export function afterPaint(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => setTimeout(() => {
      waiting = false;
      work();
    }));
  };
}
