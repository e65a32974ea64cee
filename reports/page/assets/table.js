// The table of runs: sorted, a page at a time, so that ten thousand stay quick.
const PAGE = 100;
const PRINTED = 2000;
const TEXTS = plain({
  status: ["status", (run) => run.status],
  data: ["data", (run) => run.data || ""],
  method: ["method", (run) => run.method || ""],
  sweep: ["sweep", (run) => (run.sweeps || []).join(", ")],
  model: ["base model", (run) => run.model || ""],
  id: ["id", (run) => run.id],
  started: ["started", (run) => run.started || ""],
});
let pageSize = PAGE;

function defaultColumns() {
  const kinds = [["quality", 3], ["size", 1], ["memory", 1], ["speed", 1]];
  const most = (group) => measures.filter((m) => m.group === group).map((m) => [m, m.values.filter((v) => v != null).length]);
  const keys = kinds.flatMap(([group, count]) => {
    const counted = most(group).filter(([, n]) => n > 0);
    const main = ([m]) => data.main.includes(m.key);
    if (group === "quality") counted.sort((a, b) => main(b) - main(a) || b[1] - a[1]);
    return counted.slice(0, count).map(([m]) => m.key);
  });
  const quality = measures.filter((m) => keys.includes(m.key)).map((m) => m.key);
  const more = ["general_text_kl_nats_per_token", "total_seconds"].filter((key) => byKey.has(key));
  const texts = [runs.some((run) => run.status !== "ok") && "status", new Set(runs.map((run) => run.data)).size > 1 && "data"];
  return [...texts.filter(Boolean), ...quality, ...more];
}

function columns() {
  const asked = state.cols ? state.cols.split(",") : defaultColumns();
  return asked.filter((key) => byKey.has(key) || TEXTS[key]);
}

function sorted(numbers) {
  const key = state.sort;
  if (!key) return numbers;
  const sign = state.dir === "desc" ? -1 : 1;
  const measure = byKey.get(key);
  if (measure) {
    const values = measure.values;
    const known = numbers.filter((i) => values[i] != null).sort((a, b) => sign * (values[a] - values[b]) || a - b);
    return known.concat(numbers.filter((i) => values[i] == null));
  }
  const text = key === "label" ? (run) => run.label : TEXTS[key]?.[1];
  if (!text) return numbers;
  const texts = new Map(numbers.map((i) => [i, text(runs[i])]));
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  return [...numbers].sort((a, b) => sign * compare(texts.get(a), texts.get(b)) || a - b);
}

function sortBy(key) {
  const measure = byKey.get(key);
  const first = measure && measure.better === "higher" ? "desc" : "asc";
  set({ sort: key, dir: state.sort === key ? (state.dir === "asc" ? "desc" : "asc") : first, page: "1" });
  renderPanel();
  $("panel").querySelector(`th[data-key="${CSS.escape(key)}"] button`)?.focus();
}

function headerCell(key, title, unit, number) {
  const now = state.sort === key ? (state.dir === "desc" ? "descending" : "ascending") : "none";
  return el("th", { scope: "col", "aria-sort": now, "data-key": key, class: [number && "number", key === "label" && "first"].filter(Boolean).join(" ") || null },
    el("button", { type: "button", class: "sort", click: () => sortBy(key) }, title), unit && el("div", { class: "unit" }, unit));
}

function rowOf(number, keys) {
  const run = runs[number];
  const picked = state.a === uid(number) || state.b === uid(number);
  const row = el("tr", { "data-number": number },
    el("th", { scope: "row", class: "first" },
      el("label", {}, el("input", { type: "checkbox", checked: picked, "aria-label": `Pick ${run.label} to compare`, change: () => pick(number) })),
      runLink(number), run.note && el("div", { class: "ci" }, run.note)));
  for (const key of keys) {
    const measure = byKey.get(key);
    if (measure) row.append(el("td", { class: "number" }, valueCell(measure, number, true)));
    else if (key === "status") row.append(el("td", run.cause ? { class: "cause" } : {}, statusChip(run), run.step != null && ` at step ${run.step}`, run.cause && ` ${run.cause}`));
    else row.append(el("td", {}, TEXTS[key][1](run) || MISSING));
  }
  return row;
}

// The first two picked runs are compared; a third takes the place of the second.
function pick(number) {
  const id = uid(number);
  if (state.a === id) set({ a: state.b, b: "" });
  else if (state.b === id) set({ b: "" });
  else if (!state.a) set({ a: id });
  else set({ b: id });
  renderPanel();
  $("panel").querySelector(`tr[data-number="${number}"] input`)?.focus();
}

function columnMenu(keys) {
  const box = (key, text) => el("label", { class: "inline" }, el("input", { type: "checkbox", value: key, checked: keys.includes(key), change: (event) => {
    const order = [...Object.keys(TEXTS), ...measures.map((m) => m.key)];
    const chosen = event.target.checked ? [...columns(), key] : columns().filter((other) => other !== key);
    set({ cols: chosen.sort((a, b) => order.indexOf(a) - order.indexOf(b)).join(",") || "none" });
    $("panel").querySelector(".scroll").replaceWith(tableOf());
  } }), text);
  const groups = [["text", Object.keys(TEXTS).map((key) => box(key, TEXTS[key][0]))]];
  for (const measure of measures) {
    let group = groups.find(([name]) => name === measure.group);
    if (!group) groups.push((group = [measure.group, []]));
    group[1].push(box(measure.key, heading(measure)));
  }
  const opened = el("details", { class: "menu push", keydown: (event) => {
    if (event.key === "Escape" && opened.open) { opened.open = false; opened.querySelector("summary").focus(); }
  } }, el("summary", {}, "Columns"), el("div", {}, groups.map(([name, boxes]) => [el("h3", {}, name), boxes])));
  return opened;
}

function tableOf() {
  const keys = columns();
  const ordered = sorted(shown);
  const start = (page() - 1) * pageSize;
  const body = el("tbody", {}, ordered.slice(start, start + pageSize).map((number) => rowOf(number, keys)));
  const head = el("tr", {}, headerCell("label", "run"), keys.map((key) => {
    const measure = byKey.get(key);
    return measure ? headerCell(key, measure.title, measure.unit, true) : headerCell(key, TEXTS[key][0]);
  }));
  const wide = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs" },
    el("table", { class: "runs", "aria-rowcount": ordered.length + 1 }, el("caption", { class: "hidden" }, "Runs; the headings sort"), el("thead", {}, head), body));
  return shown.length ? wide : el("p", { class: "empty scroll" }, runs.length ? "No run fits these filters." : "No runs.");
}

const pages = () => Math.max(1, Math.ceil(shown.length / pageSize));
const page = () => Math.min(Math.max(1, Number(state.page) || 1), pages());

function tableView() {
  const turn = (to, text) => el("button", { type: "button", disabled: to < 1 || to > pages(), click: () => { set({ page: String(to) }); renderPanel(); } }, text);
  const two = state.a && state.b;
  const from = (page() - 1) * pageSize;
  return [
    el("div", { class: "bar" },
      el("span", { class: "muted", id: "count" }, shown.length > pageSize
        ? `${(from + 1).toLocaleString("en-US")} to ${Math.min(from + pageSize, shown.length).toLocaleString("en-US")} of ${plural(shown.length, "run")}` : plural(shown.length, "run")),
      pages() > 1 && [turn(page() - 1, "Previous"), turn(page() + 1, "Next")],
      el("button", { type: "button", disabled: !two, click: () => go("compare") }, two ? "Compare the two picked" : state.a ? "Pick one more to compare" : "Pick two to compare"),
      columnMenu(columns())),
    tableOf(),
    el("p", { class: "muted" }, "Small figures: 95% interval over test examples. — : missing; point at it for the reason. A row is not a rank: see Trade-offs and Choose for what may be compared."),
  ];
}

addEventListener("beforeprint", () => { pageSize = PRINTED; if (state.view === "table") renderPanel(); });
addEventListener("afterprint", () => { pageSize = PAGE; if (state.view === "table") renderPanel(); });
