// What fits: memory at most, quality at least, speed at least or latency at most.
const drawsOf = new Map();
function draws(packed) {
  if (!drawsOf.has(packed)) {
    const bytes = Uint8Array.from(atob(packed.draws), (character) => character.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    drawsOf.set(packed, Float64Array.from({ length: bytes.length / 2 }, (_, i) => packed.from + packed.step * view.getUint16(2 * i, true)));
  }
  return drawsOf.get(packed);
}

function percentile(ordered, share) {
  const at = share * (ordered.length - 1);
  const below = Math.floor(at);
  return ordered[below] + (at - below) * ((ordered[below + 1] ?? ordered[below]) - ordered[below]);
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const variance = (values) => {
  const middle = mean(values);
  return values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1);
};

// As `seed_variance` of reports/statistics/paired.py: over seeds, beyond what resampled examples [seeds][resamples] show.
function seedVariance(values, resampled, means) {
  const n = values.length;
  const spread = variance(values);
  if (spread === 0) return 0;
  const noise = (n / (n - 1)) * mean(resampled.map((seed) => variance(seed.map((value, i) => value - means[i]))));
  return (spread * spread) / (spread + noise) / n;
}

// The differences of two rows of a score in each resample, taken seed by seed where they share two seeds or more.
function gapsOf(one, other) {
  const pairs = (one.seeds ?? []).map((mine) => [mine, (other.seeds ?? []).find((theirs) => theirs.seed === mine.seed)]).filter(([, theirs]) => theirs);
  if (pairs.length < 2) {
    const b = draws(other);
    return draws(one).map((value, i) => value - b[i]);
  }
  const resampled = pairs.map(([mine, theirs]) => {
    const b = draws(theirs);
    return draws(mine).map((value, i) => value - b[i]);
  });
  const means = resampled[0].map((_, i) => mean(resampled.map((seed) => seed[i])));
  const error = Math.sqrt(seedVariance(pairs.map(([mine, theirs]) => mine.value - theirs.value), resampled, means));
  const student = data.t[pairs.length];
  return means.map((value, i) => value + error * student[i]);
}

// The interval of one row's score minus another's, or `why` there is none: the resamples of all rows are the same.
function pairedInterval(one, other, score) {
  const [a, b] = [at(one.scores, score), at(other.scores, score)];
  if (!a || !b) return { why: one.unsure || other.unsure || "the examples do not give this score" };
  if (one.indices !== other.indices) return { why: "they were scored on different test examples" };
  const gaps = gapsOf(a, b).sort();
  return { low: percentile(gaps, 0.025), high: percentile(gaps, 0.975) };
}

// Of what is never 0 or less (a loss, a perplexity) the geometric one, in the middle of an interval of logarithms.
const meanOf = (measure, values) => (measure.positive && Math.min(...values) > 0 ? Math.exp(mean(values.map(Math.log))) : mean(values));

// A row's value of a measure: the mean over its seeds for quality, its worst seed for a cost; null where a seed lacks it.
function rowValue(row, measure, worst) {
  const values = row.runs.map((i) => measure.values[i]);
  if (values.some((value) => value == null)) return null;
  return worst ? (measure.better === "higher" ? Math.min(...values) : Math.max(...values)) : meanOf(measure, values);
}

// The interval of a row's quality, and what it is of.
function rowInterval(row, measure) {
  const known = at(row.scores, measure.score);
  if (known) return { low: known.low, high: known.high };
  const values = row.runs.map((i) => measure.values[i]);
  const n = values.length;
  if (n < 2) return { why: row.unsure || "its examples do not give this score" };
  const logs = measure.positive && Math.min(...values) > 0;
  if (logs && n === 2) return { low: Math.min(...values), high: Math.max(...values), seeds: " (the range of two seeds)" };
  const scaled = logs ? values.map(Math.log) : values;
  const m = mean(scaled);
  const std = Math.sqrt(scaled.reduce((sum, value) => sum + (value - m) ** 2, 0) / (n - 1));
  const half = (data.student[Math.min(n - 1, data.student.length) - 1] * std) / Math.sqrt(n);
  const back = logs ? Math.exp : (value) => value;
  return { low: back(m - half), high: back(m + half), seeds: " over seeds" };
}

const MOST_ROWS = 100; // of one verdict
const asked = (name) => (state[name] != null && state[name] !== "" && Number.isFinite(Number(state[name])) ? Number(state[name]) : null);
const meets = (measure, value, limit) => limit == null || (value != null && (measure.better === "higher" ? value >= limit : value <= limit));

function chooserMeasures() {
  const count = (m) => m.values.reduce((sum, value) => sum + (value != null), 0);
  const of = (group) => measures.filter((m) => m.group === group && m.better).map((m) => byKey.get(m.key));
  const usual = ["train_peak_bytes", "train_cuda_allocated_bytes", "train_rss_growth_bytes", "decode_ms_per_token", "evaluate_seconds_per_example"];
  const most = (list) => list.find((m) => usual.includes(m.key)) || [...list].sort((a, b) => count(b) - count(a))[0];
  const quality = byKey.get(state.cq) || data.main.map((key) => byKey.get(key)).find(Boolean) || most(of("quality"));
  return { memory: byKey.get(state.cm) || most(of("memory")), quality, speed: byKey.get(state.cs) || most(of("speed")), of };
}

function chooserView() {
  const { memory, quality, speed, of } = chooserMeasures();
  if (!quality) return [el("p", { class: "empty scroll" }, "No finished run has a score.")];
  const focus = (name) => $("panel").querySelector(`[name=${name}]`)?.focus();
  const choice = (name, label, list, chosen) => list.length > 0 && menu(label, name, measureChoices(list), chosen?.key, (value) => { set({ [name]: value }); renderPanel(); focus(name); });
  const limit = (name, measure, unit) => measure && el("label", { class: "limit" }, `${measure.better === "higher" ? "at least" : "at most"}${unit ? ` [${unit}]` : ""}`,
    el("input", { type: "number", step: "any", name, value: state[name] ?? "", size: 8, placeholder: "any", input: (event) => { set({ [name]: event.target.value }); $("chosen").replaceChildren(...results()); } }));
  return [
    el("div", { class: "bar", role: "group", "aria-label": "What is asked" },
      choice("cm", "Memory", of("memory"), memory), limit("cml", memory, "GiB"),
      choice("cq", "Quality", of("quality"), quality), limit("cql", quality, quality.unit),
      choice("cs", "Speed", of("speed"), speed), limit("csl", speed, speed?.unit)),
    el("div", { id: "chosen" }, results()),
  ];
}

function results() {
  const { memory, quality, speed } = chooserMeasures();
  const gib = asked("cml");
  const limits = [[memory, gib == null ? null : gib * 2 ** 30, true], [quality, asked("cql"), false], [speed, asked("csl"), true]].filter(([measure]) => measure);
  const inView = new Set(shown);
  const candidates = rows.filter((row) => row.runs.some((i) => inView.has(i)) && row.runs.some((i) => quality.values[i] != null));
  const out = new Map();
  const fitting = candidates.filter((row) => {
    const failed = limits.filter(([measure, limit, worst]) => limit != null && !meets(measure, rowValue(row, measure, worst), limit));
    for (const [measure, , worst] of failed.slice(0, 1)) {
      const why = `${measure.title} ${rowValue(row, measure, worst) == null ? "not measured" : "outside the limit"}`;
      out.set(why, [...(out.get(why) || []), row]);
    }
    return !failed.length;
  });
  const all = setsOf(fitting.map((row) => row.runs[0]));
  const sets = all.slice(0, MOST_SETS);
  const byRun = new Map(fitting.map((row) => [row.runs[0], row]));
  return [
    warnDiffering(all, "Each set has its own best."),
    hiddenSets(all),
    el("p", { role: "status" }, el("strong", {}, `${plural(fitting.length, "row")} fit${fitting.length === 1 ? "s" : ""}`), ` of ${candidates.length} finished with ${quality.title}. A row is all seeds of one configuration: quality is their mean, a cost that of the worst seed.`),
    ...sets.map(([number, members]) => setResult(sets.length > 1 ? setNames[number] : "", members.map((i) => byRun.get(i)), memory, quality, speed)),
    [...out].map(([why, list]) => el("details", {}, el("summary", {}, `${plural(list.length, "row")}: ${why}`), el("p", {}, list.slice(0, 200).map((row) => [runLink(row.runs[0], row.label), " · "])))),
  ].flat().filter(Boolean);
}

// What needs no model and is as good as the row or better; empty where the row beats it, or there is none.
function floorOf(row, quality) {
  const [called, value] = at(runs[row.runs[0]].floor, quality.score) || ["", null];
  return value != null && rowValue(row, quality) <= value ? called : "";
}

// As `untuned` of reports/read/rows.py: of rows that differ in more than the rate, one has a single rate that nobody searched.
function unsearched(list) {
  const bySet = new Map();
  for (const { rate } of list) if (rate) bySet.set(rate.set, [...(bySet.get(rate.set) || []), rate]);
  return bySet.size > 1 && [...bySet.values()].some((rates) => new Set(rates.map((rate) => rate.of)).size === 1 && !rates[0].searched);
}

// One comparable set: the best by value, what is tied with it, what is below it, what is not known.
function setResult(title, list, memory, quality, speed) {
  const beaten = (row) => floorOf(row, quality) === "";
  const best = list.filter(beaten).reduce((found, row) => (!found || better(quality, rowValue(row, quality), rowValue(found, quality)) ? row : found), null);
  const aside = unsearched(list) ? " at these rates" : "";
  const [first, tied] = [`best${aside}`, `tied with the best${aside}`];
  const groups = new Map([first, tied, "below the best", "not known whether tied"].map((word) => [word, []]));
  for (const row of list) {
    if (row === best) { groups.get(first).push([row]); continue; }
    if (!beaten(row)) {
      const word = `below ${floorOf(row, quality)}`;
      groups.set(word, [...(groups.get(word) || []), [row]]);
      continue;
    }
    const gap = pairedInterval(best, row, quality.score);
    if (gap.why) groups.get("not known whether tied").push([row, gap.why]);
    else groups.get(gap.low <= 0 && gap.high >= 0 ? tied : "below the best").push([row]);
  }
  const columns = [quality, memory, speed].filter(Boolean);
  const limit = asked("cql");
  const line = (word) => ([row, why]) => {
    const interval = rowInterval(row, quality);
    const unsure = limit != null && interval.low !== undefined && !(quality.better === "higher" ? interval.low >= limit : interval.high <= limit);
    return el("tr", { "data-row": rows.indexOf(row), "data-verdict": word }, el("th", { scope: "row" }, runLink(row.runs[0], row.label)), el("td", { class: "nowrap" }, row.runs.length === 1 ? "one seed" : `${row.runs.length} seeds`),
      columns.map((m) => {
        const value = rowValue(row, m, m !== quality);
        if (value == null) return el("td", { class: "number" }, dash(reason(m, row.runs[0])));
        if (m !== quality) return el("td", { class: "number" }, format(m, value));
        return el("td", { class: "number" }, format(m, value), interval.why ? el("span", { class: "ci", title: interval.why }, "interval not known") : el("span", { class: "ci" }, range(m, [interval.low, interval.high]), interval.seeds));
      }),
      el("td", {}, el("span", { class: word.startsWith("below") || word.startsWith("not") ? "chip" : "chip good", title: why || null }, list.length === 1 && beaten(row) ? "the only one" : word), unsure && el("div", { class: "ci" }, "its interval reaches past the limit")));
  };
  return el("section", {}, title && el("h2", {}, title),
    el("div", { class: "scroll" }, el("table", { class: "fits" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "row"), el("th", { scope: "col" }, "seeds"), columns.map(measureHead), el("th", { scope: "col" }, `${quality.title}: verdict`))),
      el("tbody", {}, [...groups].map(([word, members]) => [members.slice(0, MOST_ROWS).map(line(word)),
        members.length > MOST_ROWS && el("tr", {}, el("td", { colspan: 6, class: "muted" }, `and ${members.length - MOST_ROWS} more: ${word}`))])))),
    el("p", { class: "muted" }, "Tied: the paired 95% interval of the difference contains 0. Within a verdict rows stand in the order of the records, not ranked. What does not beat an answer that needs no model (a run's page has its score) is neither best nor tied. At these rates: of rows that differ in more than the learning rate, one or more have a single rate that nobody searched. One seed says nothing of the randomness of training."));
}
