/**
 * Keys: a view names what it does and the key for it; the foot and the `?` sheet are drawn from the same list.
 *
 * @typedef {object} Binding
 * @property {string} key as KeyboardEvent.key has it: "Enter", "u", "ArrowLeft", " "; "1-9" binds nine digits
 * @property {string} label what it does, in two or three words
 * @property {(event: KeyboardEvent) => void} run
 * @property {() => boolean} [when] whether it is possible now; impossible ones are passed on
 * @property {boolean} [foot] whether it stands at the foot of the page
 * @property {string} [shown] how the key is written, where not by its name
 */

const NAMES = { Enter: "⏎", " ": "space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "esc" };

/** @param {Binding} binding how its key is written */
export function keyName(binding) {
  return binding.shown ?? /** @type {Record<string, string>} */ (NAMES)[binding.key] ?? binding.key;
}

/**
 * Let keys run bindings, unless the key belongs to what has the focus: a field, a menu, a button's own Enter.
 *
 * @param {EventTarget} target
 * @param {() => Binding[]} bindings asked at each key
 * @returns {() => void} how to stop
 */
export function listen(target, bindings) {
  const onKey = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (belongsToFocus(event)) return;
    const found = bindings().find((binding) => matches(binding, event.key) && possible(binding));
    if (!found) return;
    event.preventDefault();
    found.run(event);
  };
  target.addEventListener("keydown", onKey);
  return () => target.removeEventListener("keydown", onKey);
}

/** Whether a binding can do anything now; a `when` without an answer, before there is a session, says no. */
export function possible(/** @type {Binding} */ binding) {
  return binding.when === undefined || Boolean(binding.when());
}

/** @param {Binding} binding @param {string} key */
function matches(binding, key) {
  return binding.key === "1-9" ? /^[1-9]$/.test(key) : binding.key === key;
}

/** @param {KeyboardEvent} event */
function belongsToFocus(event) {
  const at = /** @type {HTMLElement} */ (event.composedPath()[0]);
  if (!(at instanceof HTMLElement)) return false;
  if (at.closest("dialog[open]")) return event.key !== "Escape";
  if (at.isContentEditable || at.matches("input:not([type=checkbox], [type=radio], [type=range]), textarea, select")) return true;
  if (at.matches("input[type=range], input[type=radio]")) return event.key.startsWith("Arrow");
  return (event.key === "Enter" || event.key === " ") && at.matches("button, a[href], summary, [role=button], [role=option], [role=tab], input");
}
