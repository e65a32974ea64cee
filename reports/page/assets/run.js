// One run: what it is, its scores and costs, its curve, what it said.
const ids = new Map();
runs.forEach((run, number) => ids.set(ids.has(run.id) ? `${run.id}@${number}` : run.id, number));
const uids = new Array(runs.length);
for (const [id, number] of ids) uids[number] = id;
const uid = (number) => uids[number];

function openRun(number) {
  set({ run: uid(number) });
  showRun();
}

function showRun() {
  const dialog = $("detail");
  const number = ids.get(state.run);
  if (number === undefined) { if (dialog.open) dialog.close(); return; }
  dialog.replaceChildren(...runContent(number).flat().filter(Boolean));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

$("detail").addEventListener("close", () => { set({ run: "" }); });
$("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });

function runContent(number) {
  const run = runs[number];
  const compared = () => { const other = state.a && state.a !== uid(number) ? state.a : ""; set({ a: other || uid(number), b: other ? uid(number) : "" }); $("detail").close(); go("compare"); };
  const facts = [
    ["id", el("code", {}, run.id)], ["method", run.method], ["data", run.data], ["base model", run.model], ["sweep", (run.sweeps || []).join(", ")],
    ["comparable with", run.sets && run.sets.map((each) => setNames[each]).join("; ")], ["adapted modules", run.targets], ["started", run.started], ["folder", run.folder], ["note", run.note],
  ].filter(([, value]) => value);
  return [
    el("header", {}, el("h1", { id: "detail-title", tabindex: "-1", autofocus: true }, run.label), statusChip(run), el("span", { class: "push" },
      el("button", { type: "button", click: compared }, state.a && state.a !== uid(number) ? "Compare with the picked run" : "Pick to compare"),
      el("button", { type: "button", click: () => $("detail").close(), "aria-label": "Close" }, "Close"))),
    run.cause && el("p", { class: "warning" }, `${run.status}${run.step != null ? ` at step ${run.step}` : ""}: ${run.cause}`),
    (run.warnings || []).map((warning) => el("p", { class: "warning" }, warning)),
    el("div", { class: "two" },
      el("section", {}, el("h2", {}, "What it is"), el("dl", {}, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))),
      el("section", {}, el("h2", {}, "What it cost"), costs(number))),
    run.status === "ok" && el("section", {}, el("h2", {}, "Scores"), scoreTable(number)),
    section("Curve", curves([number], Math.min(900, Math.max(280, innerWidth - 60))), run.status === "ok" && "No curve was kept beside the record."),
    el("section", {}, el("h2", {}, "Predictions"), predictions(number)),
    el("section", {}, el("h2", {}, "Configuration"), run.overrides && el("p", {}, el("code", {}, run.overrides)), keyTable(number)),
  ];
}

function section(title, content, otherwise) {
  if (!content && !otherwise) return null;
  return el("section", {}, el("h2", {}, title), content || el("p", { class: "muted" }, otherwise));
}

function costs(number) {
  const groups = ["size", "memory", "speed", "forgetting", "consistency"];
  const list = measures.filter((m) => groups.includes(m.group)).map((m) => byKey.get(m.key));
  const known = list.filter((m) => m.values[number] != null);
  const why = new Map();
  for (const m of list) if (m.values[number] == null) why.set(reason(m, number), [...(why.get(reason(m, number)) || []), m.title]);
  return [
    el("dl", {}, known.map((m) => [el("dt", {}, m.title), el("dd", {}, format(m, m.values[number]), m.unit && ` ${m.unit}`)])),
    el("p", { class: "muted" }, [...why].map(([reason, titles]) => `${MISSING} ${titles.join(", ")}: ${reason}. `)),
  ];
}

function scoreTable(number) {
  const run = runs[number];
  const list = measures.filter((m) => m.group === "quality").map((m) => byKey.get(m.key)).filter((m) => m.values[number] != null || at(run.base, m.score) != null);
  const base = (m) => (at(run.base, m.score) == null ? dash("not recorded") : format(m, run.base[m.score]));
  const interval = (m) => (at(run.intervals, m.score) ? range(m, run.intervals[m.score]) : dash(run.unsure || "its examples do not give this score"));
  return [
    el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, ["score", "this run", "95% interval", "untouched base", "better", "how it is computed"].map((text, i) => el("th", { scope: "col", class: i > 0 && i < 4 ? "number" : null }, text)))),
      el("tbody", {}, list.map((m) => el("tr", {}, el("th", { scope: "row" }, heading(m)), el("td", { class: "number" }, valueCell(m, number, false)), el("td", { class: "number" }, interval(m)),
        el("td", { class: "number" }, base(m)), el("td", {}, m.better || MISSING), el("td", { class: "muted" }, at(run.signatures, m.score) || MISSING)))))),
    run.baselines && el("p", { class: "muted" }, `Without a model: ${Object.entries(run.baselines).map(([name, value]) => `${name} ${value.toFixed(Math.abs(value) > 1.5 ? 2 : 3)}`).join(", ")}.`),
    el("p", { class: "muted" }, run.intervals ? "Intervals: bootstrap over the test examples; they do not cover the randomness of training." : `No intervals: ${run.unsure || "not known"}.`),
  ];
}

function predictions(number) {
  const { said } = later(number);
  const known = data.references[runs[number].place] || {};
  if (!said.length) return el("p", { class: "muted" }, "No predictions beside the record.");
  const shared = said.some(([index]) => known[index]);
  return [
    el("p", { class: "muted" }, `The first ${said.length} predictions. `, shared
      ? ["Beside the closest reference: ", el("ins", {}, "only in the prediction"), " ", el("del", {}, "only in the reference"), "."]
      : "References are not shown: they are no part of records, and the page has them for embedded data alone."),
    said.map(([index, text]) => {
      const found = known[index];
      if (!found) return el("div", { class: "example" }, el("span", { class: "muted" }, `${index}  `), text ?? MISSING);
      const near = closest(found[1], text || "");
      return el("div", { class: "example" }, el("div", { class: "input" }, `${index}  ${found[0]}`), el("div", { class: "pair" },
        el("div", { class: "prediction" }, marked(near.parts, ["same", "ins"])), el("div", { class: "reference" }, marked(near.parts, ["same", "del"]))));
    }),
  ];
}

function keyTable(number) {
  const list = [...config(number)];
  return el("details", {}, el("summary", {}, `${list.length} fields of the key`),
    el("dl", { class: "mono" }, list.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}
