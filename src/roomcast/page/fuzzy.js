// How well a name matches the typed letters: all in order; adjacent letters and beginnings of words score best.

/**
 * 0 if it does not match.
 * @param {string} name in lower case
 * @param {string} typed in lower case
 */
export function fit(name, typed) {
  const at = name.indexOf(typed);
  if (at >= 0) return 2000 - Math.min(at, 500) - Math.min(name.length, 400) + (at === 0 || isEdge(name, at) ? 1000 : 0);
  let [score, from] = [1000 - Math.min(name.length, 400), -1];
  for (const letter of typed.replaceAll(/\s/g, "")) {
    const found = name.indexOf(letter, from + 1);
    if (found < 0) return 0;
    score -= isEdge(name, found) ? 0 : Math.min(found - from - 1, 20);
    from = found;
  }
  return Math.max(1, score);
}

/**
 * @param {string} name
 * @param {number} at
 */
function isEdge(name, at) {
  return /[\s/._:-]/.test(name[at - 1] ?? "/");
}
