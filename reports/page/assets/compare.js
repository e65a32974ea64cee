// Two runs side by side.
function runPicker(name, label) {
  const number = ids.get(state[name]);
  const text = (i) => `${runs[i].label} (${uid(i)})`;
  const list = el("datalist", { id: `list-${name}` });
  const fill = (value) => {
    const terms = value.toLowerCase().split(/\s+/).filter(Boolean);
    const fit = [];
    for (let i = 0; i < runs.length && fit.length < 60; i++) if (terms.every((term) => haystack[i].includes(term))) fit.push(i);
    list.replaceChildren(...fit.map((i) => el("option", { value: text(i) })));
  };
  fill("");
  const input = el("input", { name, list: `list-${name}`, size: 44, value: number === undefined ? "" : text(number), placeholder: "label or id", autocomplete: "off",
    input: () => fill(input.value),
    change: () => {
      const id = /\(([^()]+)\)$/.exec(input.value)?.[1] ?? input.value;
      const found = ids.get(id) ?? runs.findIndex((run) => run.label === input.value);
      set({ [name]: uids[found] || "" });
      renderPanel();
      $("panel").querySelector(`input[name=${name}]`)?.focus();
    } });
  return el("label", {}, label, input, list);
}

function compareView() {
  const [a, b] = [ids.get(state.a), ids.get(state.b)];
  const bar = el("div", { class: "bar" }, runPicker("a", "A"), runPicker("b", "B"),
    el("button", { type: "button", disabled: a === undefined || b === undefined, click: () => { set({ a: state.b, b: state.a }); renderPanel(); } }, "Swap"));
  if (a === undefined || b === undefined) return [bar, el("p", { class: "empty scroll" }, "Pick two runs: type a label, or tick two rows of the table.")];
  const shared = (runs[a].sets || []).some((each) => (runs[b].sets || []).includes(each));
  const sets = [...new Set([...(runs[a].sets || []).slice(0, 1), ...(runs[b].sets || []).slice(0, 1)])];
  return [
    bar,
    !shared && sets.length > 1 && el("div", { class: "warning", role: "note" }, el("strong", {}, "These two differ in more than the method. "), "A difference of scores or costs may come from: ",
      differences(sets).map(([name, values]) => `${fieldWord(name)} (${values.join(", ")})`).join("; "), "."),
    [a, b].filter((i) => runs[i].status !== "ok").map((i) => el("p", { class: "warning" }, `${runs[i].label}: ${runs[i].status}${runs[i].cause ? `: ${runs[i].cause}` : ""}`)),
    el("div", { class: "columns" },
      el("section", {}, el("h2", {}, "Measures"), measureTable(a, b)),
      el("div", {}, el("section", {}, el("h2", {}, "Configuration"), configTable(a, b)),
        section("Curves", curves([a, b], Math.min(680, Math.max(280, innerWidth - 40))), "Neither run kept a curve."))),
    el("section", {}, el("h2", {}, "Predictions that differ"), predictionPairs(a, b)),
  ];
}

// The row over seeds that holds one run alone, for its resamples.
const alone = new Map(rows.filter((row) => row.runs.length === 1).map((row) => [row.runs[0], row]));

function pairedDifference(measure, a, b) {
  const [first, second] = [alone.get(a), alone.get(b)];
  if (!first || !second) return { why: "one of them is a run of several seeds, or did not finish" };
  if (runs[a].place !== runs[b].place) return { why: "they were scored on different data" };
  return pairedInterval(first, second, measure.score);
}

function measureTable(a, b) {
  const list = measures.map((m) => byKey.get(m.key)).filter((m) => m.values[a] != null || m.values[b] != null);
  return [
    el("div", { class: "scroll" }, el("table", { class: "compared" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "measure"), [`A: ${runs[a].label}`, `B: ${runs[b].label}`, "B − A"].map((text) => el("th", { scope: "col", class: "number" }, text)))),
      el("tbody", {}, list.map((m) => {
        const [va, vb] = [m.values[a], m.values[b]];
        const signed = { ...m, sign: true };
        const paired = m.group === "quality" ? pairedDifference(m, a, b) : { why: "measured once" };
        const gap = va == null || vb == null ? dash("one of them has no value")
          : [format(signed, vb - va), paired.low !== undefined ? el("span", { class: "ci", title: "95% interval, paired bootstrap over test examples" }, `${range(signed, [-paired.high, -paired.low])}`) : null];
        return el("tr", { "data-key": m.key }, el("th", { scope: "row" }, heading(m)), [a, b].map((i) => el("td", { class: "number" }, valueCell(m, i, true))), el("td", { class: "number" }, gap));
      })))),
    el("p", { class: "muted" }, "Small figures: 95% intervals over test examples; of the difference by a paired bootstrap. Where that contains 0 the two are not told apart. Other differences are of single measurements."),
  ];
}

function configTable(a, b) {
  const [first, second] = [config(a), config(b)];
  const names = [...new Set([...first.keys(), ...second.keys()])];
  const differing = names.filter((name) => first.get(name) !== second.get(name));
  if (!differing.length) return el("p", { class: "muted" }, names.length ? `All ${names.length} fields of the key are equal.` : "No record tells its configuration.");
  return [
    el("div", { class: "scroll" }, el("table", { class: "config" },
      el("thead", {}, el("tr", {}, ["field", "A", "B"].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, differing.map((name) => el("tr", {}, el("th", { scope: "row", class: "mono" }, name), [first, second].map((each) => el("td", { class: "mono" }, each.get(name) ?? MISSING))))))),
    el("p", { class: "muted" }, `${plural(names.length - differing.length, "other field")} of the key ${names.length - differing.length === 1 ? "is" : "are"} equal.`),
  ];
}

function predictionPairs(a, b) {
  const [first, second] = [a, b].map((i) => new Map(later(i).said));
  if (runs[a].place !== runs[b].place) return el("p", { class: "muted" }, "They were scored on different data.");
  const both = [...first.keys()].filter((index) => second.has(index));
  const differing = both.filter((index) => first.get(index) !== second.get(index));
  if (!both.length) return el("p", { class: "muted" }, "One of them has no predictions beside its record.");
  const known = data.references[runs[a].place] || {};
  return [
    el("p", { class: "muted" }, `${differing.length} of the first ${both.length} differ. `, el("del", {}, "only in A"), " ", el("ins", {}, "only in B")),
    differing.map((index) => {
      const { parts } = wordDiff(first.get(index) || "", second.get(index) || "");
      return el("div", { class: "example" }, el("div", { class: "input" }, `${index}  ${known[index]?.[0] || ""}`), el("div", { class: "pair" },
        el("div", {}, marked(parts, ["same", "del"])), el("div", {}, marked(parts, ["same", "ins"]))),
        known[index] && el("div", { class: "muted" }, `Reference: ${known[index][1][0]}`));
    }),
  ];
}
