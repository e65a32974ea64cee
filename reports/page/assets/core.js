// The data, how values are written, and what every view shares.
const data = JSON.parse(document.getElementById("data").textContent);
const { measures, runs, rows } = data;
const MISSING = "—";
const MINUS = "−";
const byKey = new Map(measures.map((measure, number) => [measure.key, { ...measure, number }]));
// Addresses and records name things, and a plain object has things of its own under names like `constructor`.
const plain = (object) => Object.assign(Object.create(null), object);
const at = (object, key) => (object != null && Object.hasOwn(object, key) ? object[key] : undefined);
const $ = (id) => document.getElementById(id);

// An element; attributes that are functions are listeners, `text` children are never read as markup.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A number as the tables of reports write it: one unit and precision a column.
function format(measure, value) {
  if (value == null) return MISSING;
  const number = value / (measure.divisor || 1);
  if (measure.divisor && number === 0) return "0";
  let text;
  if (measure.digits) {
    text = String(Number(number.toPrecision(measure.digits)));
  } else {
    text = measure.comma
      ? number.toLocaleString("en-US", { minimumFractionDigits: measure.fixed, maximumFractionDigits: measure.fixed })
      : number.toFixed(measure.fixed);
  }
  if (!/[1-9]/.test(text)) return text.replace("-", "");
  return text.startsWith("-") ? MINUS + text.slice(1) : measure.sign ? "+" + text : text;
}

const heading = (measure) => (measure.unit ? `${measure.title} [${measure.unit}]` : measure.title);
const arrow = (measure) => at({ lower: " (lower is better)", higher: " (higher is better)" }, measure.better) || "";
const valueOf = (measure, run) => measure.values[run];
const better = (measure, a, b) => (measure.better === "lower" ? a < b : a > b);

// Why a run has no value: it did not finish, or its record's reason.
function reason(measure, number) {
  const run = runs[number];
  if (run.status !== "ok") return run.status + (run.cause ? `: ${run.cause}` : "");
  const found = data.absent[run.absent || 0]?.find(([which]) => which === measure.number);
  return found ? data.reasons[found[1]] : "not recorded";
}

function dash(why) {
  return el("span", { class: "dash", title: why, "aria-label": `missing: ${why}` }, MISSING);
}

// The value of a run, with its interval where there is one.
function valueCell(measure, number, withInterval) {
  const value = valueOf(measure, number);
  if (value == null) return dash(reason(measure, number));
  const interval = at(runs[number].intervals, measure.score);
  if (!interval || !withInterval) return format(measure, value);
  return [format(measure, value), el("span", { class: "ci", title: "95% interval over test examples" }, range(measure, interval))];
}

const range = (measure, [low, high]) => `${format(measure, low)} to ${format(measure, high)}`;

function statusChip(run) {
  const kind = run.status === "ok" ? "good" : run.status === "not run" ? "" : "bad";
  return el("span", { class: `chip ${kind}` }, run.status);
}

function runLink(number, text = runs[number].label) {
  return el("button", { type: "button", class: "link", click: () => openRun(number), "data-run": number }, text);
}

// What is wanted of a run only when it is opened lies in parts of the page that are read then.
const parts = new Map();
function later(number) {
  const part = Math.floor(number / data.part);
  if (!parts.has(part)) parts.set(part, JSON.parse($(`later-${part}`).textContent));
  return parts.get(part)[number % data.part];
}
const config = (number) => new Map(later(number).config.map((pair) => data.pairs[pair]));

// State: what the address says after `#`, so that a view can be shared.
const DEFAULTS = plain({ view: "table", dir: "asc", page: "1" });
const state = plain({});
function readHash() {
  for (const name of Object.keys(state)) delete state[name];
  Object.assign(state, DEFAULTS);
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) state[name] = value;
}
function set(changes) {
  Object.assign(state, changes);
  for (const name of Object.keys(state)) if (state[name] == null || state[name] === "") delete state[name];
  const told = Object.entries(state).filter(([name, value]) => DEFAULTS[name] !== value);
  history.replaceState(null, "", `#${new URLSearchParams(told)}`);
}

// A menu of choices: [value, text] or {group, choices}.
function menu(label, name, choices, chosen, change) {
  const options = choices.map((choice) =>
    Array.isArray(choice)
      ? el("option", { value: choice[0], selected: choice[0] === chosen }, choice[1])
      : el("optgroup", { label: choice.group }, choice.choices.map(([v, t]) => el("option", { value: v, selected: v === chosen }, t))),
  );
  return el("label", {}, label, el("select", { name, change: (event) => change(event.target.value) }, options));
}

function measureChoices(list) {
  const groups = new Map();
  for (const measure of list) {
    if (!groups.has(measure.group)) groups.set(measure.group, []);
    groups.get(measure.group).push([measure.key, heading(measure)]);
  }
  return [...groups].map(([group, choices]) => ({ group, choices }));
}

// The heading of a column that is not sorted: title, then unit and which direction is better.
function measureHead(measure) {
  const under = [measure.unit, measure.better && `${measure.better} is better`].filter(Boolean).join(", ");
  return el("th", { scope: "col", class: "number" }, measure.title, under && el("div", { class: "unit" }, under));
}

function plural(count, one) {
  return `${count.toLocaleString("en-US")} ${one}${count === 1 ? "" : "s"}`;
}
