/** Keywords as they are typed in Python. */

/** @param {Record<string, any>} given {do_sample: true, top_p: 0.9} -> "do_sample=True, top_p=0.9" */
export function keywords(given) {
  return Object.entries(given).map(([name, value]) => `${name}=${shown(value)}`).join(", ");
}

function shown(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  return value === null ? "None" : JSON.stringify(value);
}
