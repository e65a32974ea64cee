// Differences of two texts by words: the longest common subsequence.
function wordDiff(from, to) {
  const split = (text) => text.split(/\s+/).filter(Boolean);
  const [a, b] = [split(from), split(to)].map((words) => words.slice(0, 600));
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i * width + j] = a[i] === b[j] ? table[(i + 1) * width + j + 1] + 1 : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  const found = [];
  const put = (kind, word) => { if (found.at(-1)?.kind === kind) found.at(-1).words.push(word); else found.push({ kind, words: [word] }); };
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { put("same", a[i]); i++; j++; }
    else if (j >= b.length || (i < a.length && table[(i + 1) * width + j] >= table[i * width + j + 1])) put("del", a[i++]);
    else put("ins", b[j++]);
  }
  return { common: table[0], parts: found };
}

// `to` with its words that `from` has not marked as <ins>, and those of `from` that it lacks as <del>.
function marked(parts, keep = ["same", "ins", "del"]) {
  return parts.filter((part) => keep.includes(part.kind)).flatMap(({ kind, words }) => [kind === "same" ? words.join(" ") : el(kind, {}, words.join(" ")), " "]);
}

// Of several references, the one that shares most words with a text.
function closest(references, text) {
  return references.map((reference) => ({ reference, ...wordDiff(reference, text) })).sort((a, b) => b.common - a.common)[0];
}
