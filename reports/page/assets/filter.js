// Which runs are shown, and whether they may be compared.
const haystack = runs.map((run) =>
  [run.label, run.id, run.method, run.data, run.status, run.cause, run.overrides, ...(run.sweeps || [])].join(" ").toLowerCase(),
);
const NO_SWEEP = "(none)";
const FACETS = {
  sweep: ["Sweep", (run) => run.sweeps || [NO_SWEEP]],
  method: ["Method", (run) => [run.method || MISSING]],
  data: ["Data", (run) => [run.data || MISSING]],
  folder: ["Folder", (run) => [run.folder]],
  rate: ["Learning rate", (run) => [run.rate || "not tuned"]],
  status: ["Status", (run) => [run.status]],
  set: ["Comparable set", (run) => (run.sets || []).map(String)],
};
let shown = [];

function applyFilters() {
  const terms = (state.q || "").toLowerCase().split(/\s+/).filter(Boolean);
  const facets = Object.entries(FACETS).filter(([name]) => state[name]).map(([name, [, of]]) => [of, state[name]]);
  shown = [];
  for (let i = 0; i < runs.length; i++) {
    if (terms.every((term) => haystack[i].includes(term)) && facets.every(([of, wanted]) => of(runs[i]).includes(wanted))) shown.push(i);
  }
}

const FIELD_WORDS = plain({
  "data.name": "data", "data.sha256": "content of the data", "settings.train.steps": "training steps", test_examples: "test examples",
  "settings.train.batch_size": "batch size", "model.name": "base model", "environment.device": "device", "environment.threads": "threads",
});
const fieldWord = (name) => FIELD_WORDS[name] || name.replace(/^settings\./, "").replace(/^environment\.versions\./, "version of ");

// A comparable set in a few words.
const setNames = (() => {
  const models = new Set(data.sets.map((fields) => fields["model.name"])).size;
  const short = data.sets.map((fields) => {
    const steps = fields["settings.train.steps"];
    return [fields["data.name"], models > 1 && fields["model.name"], steps && `${steps} steps of ${fields["settings.train.batch_size"]}`, `${fields.test_examples} examples`].filter(Boolean).join(" · ");
  });
  return short.map((name, i) => (short.indexOf(name) === short.lastIndexOf(name) ? name : `${name} · no. ${short.slice(0, i + 1).filter((other) => other === name).length}`));
})();

// The comparable sets of runs, largest first: [number of the set, its runs].
function setsOf(numbers) {
  const found = new Map();
  for (const i of numbers) for (const each of runs[i].sets || []) {
    if (!found.has(each)) found.set(each, []);
    found.get(each).push(i);
  }
  return [...found].sort((a, b) => b[1].length - a[1].length || a[0] - b[0]);
}

// Sets that a view shows one by one; beyond them it says how many there are.
const MOST_SETS = 12;
const hiddenSets = (sets) => sets.length > MOST_SETS && el("p", { class: "warning" }, `The ${MOST_SETS} largest of ${plural(sets.length, "set")} are shown; filter for the others.`);

// The fields in which comparable sets differ: [field, its values].
function differences(sets) {
  const names = new Set(sets.flatMap((each) => Object.keys(data.sets[each])));
  const found = [];
  for (const name of names) {
    const values = new Set(sets.map((each) => at(data.sets[each], name) ?? "—"));
    if (values.size > 1) found.push([name, [...values]]);
  }
  const first = Object.keys(FIELD_WORDS);
  const rank = (name) => (first.includes(name) ? first.indexOf(name) : first.length);
  return found.sort((a, b) => rank(a[0]) - rank(b[0]));
}

// A warning that runs differ in more than what they are compared for; null where they do not.
function warnDiffering(sets, consequence) {
  if (sets.length < 2) return null;
  const told = differences(sets.map(([number]) => number));
  const values = (list) => (list.length > 4 ? `${list.slice(0, 4).join(", ")} and ${list.length - 4} more` : list.join(", "));
  return el("div", { class: "warning", role: "note" },
    el("strong", {}, `These runs differ in more than the method: ${sets.length} sets that may not be ranked together. `), consequence,
    el("p", {}, "They differ in ", told.slice(0, 6).map(([name, list]) => `${fieldWord(name)} (${values(list)})`).join(", "),
      told.length > 6 && [" and ", el("details", {}, el("summary", {}, plural(told.length - 6, "more field")), ` ${told.slice(6).map(([name]) => fieldWord(name)).join(", ")}`)]),
    el("button", { type: "button", class: "noprint", click: () => { set({ set: String(sets[0][0]) }); render(); } }, `Show only the largest set (${setNames[sets[0][0]]})`),
  );
}

function filterBar() {
  const bar = $("filters");
  bar.replaceChildren(el("label", {}, "Search", el("input", {
    type: "search", name: "q", value: state.q || "", placeholder: "label, method, cause, id …", autocomplete: "off",
    input: (event) => { set({ q: event.target.value, page: "1" }); renderPanel(); },
  })));
  for (const [name, [label, of]] of Object.entries(FACETS)) {
    const counts = new Map();
    for (const run of runs) for (const value of of(run)) counts.set(value, (counts.get(value) || 0) + 1);
    if (counts.size < 2 && !state[name]) continue;
    const values = [...counts].sort((a, b) => (name === "set" ? b[1] - a[1] : a[0].localeCompare(b[0])));
    const text = (value) => (name === "set" ? setNames[value] : value);
    bar.append(menu(label, name, [["", "all"], ...values.map(([value, count]) => [value, `${text(value)} (${count.toLocaleString("en-US")})`])],
      state[name] || "", (value) => { set({ [name]: value, page: "1" }); renderPanel(); }));
  }
  bar.append(el("button", { type: "button", click: () => {
    set({ q: "", page: "1", ...Object.fromEntries(Object.keys(FACETS).map((name) => [name, ""])) });
    render();
    $("filters").querySelector("input").focus();
  } }, "Clear"));
}
