// Two measures against each other, with the Pareto front of each set of runs that may be compared.
let plotted = { points: [], at: -1 };

// The runs that no other of the same set beats: as good in both measures and better in one.
function paretoFront(numbers, x, y) {
  const sign = (measure) => (measure.better === "lower" ? 1 : -1);
  const [sx, sy] = [sign(x), sign(y)];
  const list = numbers.map((i) => [sx * x.values[i], sy * y.values[i], i]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const front = [];
  let [least, atX] = [Infinity, null];
  for (const [px, py, i] of list) {
    if (py < least || (py === least && px === atX)) {
      front.push(i);
      [least, atX] = [py, px];
    }
  }
  return front;
}

function chosenMeasures() {
  const count = (m) => shown.reduce((sum, i) => sum + (m.values[i] != null), 0);
  const most = (groups) => measures.filter((m) => groups.includes(m.group) && m.better).map((m) => [m, count(m)]).sort((a, b) => b[1] - a[1])[0]?.[0] || measures[0];
  const usual = byKey.get("bleu") && count(byKey.get("bleu")) ? byKey.get("bleu") : null;
  return [byKey.get(state.x) || byKey.get("trainable_parameters") || most(["size", "memory", "speed"]), byKey.get(state.y) || usual || most(["quality"])];
}

function tradeoffView() {
  if (!measures.length) return [el("p", { class: "empty scroll" }, "No finished run has a measure.")];
  const [x, y] = chosenMeasures();
  const logx = state.logx ? state.logx === "1" : x.key === "trainable_parameters" || x.divisor > 0;
  const logy = state.logy === "1";
  const finished = shown.filter((i) => runs[i].status === "ok");
  const known = finished.filter((i) => x.values[i] != null && y.values[i] != null);
  const drawn = known.filter((i) => (!logx || x.values[i] > 0) && (!logy || y.values[i] > 0));
  const all = setsOf(drawn);
  const sets = all.slice(0, MOST_SETS);
  const directed = x.better && y.better;
  const fronts = directed ? sets.map(([number, members]) => [number, paretoFront(members, x, y)]) : [];
  const choose = (name) => (value) => { set({ [name]: value }); renderPanel(); $("panel").querySelector(`[name=${name}]`)?.focus(); };
  const box = (name, text, on) => el("label", { class: "inline" }, el("input", { type: "checkbox", name, checked: on, change: (event) => choose(name)(event.target.checked ? "1" : "0") }), text);
  const left = [
    shown.length > finished.length && `${plural(shown.length - finished.length, "run")} did not finish`,
    finished.length > known.length && `${plural(finished.length - known.length, "finished run")} without one of the two`,
    known.length > drawn.length && `${plural(known.length - drawn.length, "run")} at or below 0, which a log axis cannot show`,
  ].filter(Boolean);
  const chart = el("div", { class: "chart", tabindex: "0", role: "application", "aria-label": `Scatter of ${plural(drawn.length, "run")}: arrow keys go from run to run, Enter opens one` });
  requestAnimationFrame(() => drawScatter(chart, { x, y, logx, logy, drawn, sets, fronts }));
  return [
    el("div", { class: "bar" },
      menu("Across (x)", "x", measureChoices(measures), x.key, choose("x")), box("logx", "log x", logx),
      menu("Up (y)", "y", measureChoices(measures), y.key, choose("y")), box("logy", "log y", logy)),
    warnDiffering(all, "A front is drawn for each set."),
    hiddenSets(all),
    !directed && el("p", { class: "warning" }, `No front: neither more nor less ${x.better ? y.title : x.title} is better.`),
    chart,
    sets.length > 1 && el("div", { class: "legend" }, sets.map(([number, members], n) => el("span", {}, el("i", { style: `background:var(--s${n % 6})` }), `${setNames[number]} (${members.length})`))),
    el("p", { class: "muted" }, `${plural(drawn.length, "run")} shown.${left.length ? ` Left out: ${left.join("; ")}.` : ""} `,
      directed && `Pareto front: no run of its set is as good in both measures and better in one (${x.title}: ${x.better} is better; ${y.title}: ${y.better} is better). It goes by the measured values; neighbours may be tied.`),
    fronts.length > 0 && drawn.length > 0 && frontTables(fronts, x, y),
  ];
}

function frontTables(fronts, x, y) {
  return el("div", { class: "columns" }, fronts.map(([number, front]) => el("section", {},
    el("h2", {}, fronts.length > 1 ? `Front: ${setNames[number]}` : "Pareto front"),
    el("div", { class: "scroll" }, el("table", { class: "front-table", "data-set": number },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "run"), [x, y].map(measureHead))),
      el("tbody", {}, front.map((i) => el("tr", { "data-number": i }, el("th", { scope: "row" }, runLink(i)), [x, y].map((m) => el("td", { class: "number" }, valueCell(m, i, true)))))))))));
}

function drawScatter(chart, { x, y, logx, logy, drawn, sets, fronts }) {
  const width = Math.max(280, chart.clientWidth - 8);
  const height = Math.round(Math.min(520, Math.max(300, width * 0.5)));
  const size = (m) => (value) => value / (m.divisor || 1);
  const [made, px, py] = frame(width, height, drawn.map((i) => size(x)(x.values[i])), drawn.map((i) => size(y)(y.values[i])),
    { logx, logy, xTitle: heading(x) + arrow(x), yTitle: heading(y) + arrow(y), label: `${heading(y)} against ${heading(x)}` });
  const spot = (i) => [px.place(size(x)(x.values[i])), py.place(size(y)(y.values[i]))];
  sets.forEach(([, members], n) => {
    made.append(svg("path", { class: "dots", stroke: `var(--s${n % 6})`, d: members.map((i) => { const [a, b] = spot(i); return `M${a.toFixed(1)} ${b.toFixed(1)}h0`; }).join("") }));
  });
  const taken = [];
  const labels = svg("g");
  fronts.forEach(([, front], n) => {
    const color = `var(--s${n % 6})`;
    made.append(svg("path", { class: "front", stroke: color, d: front.map((i, j) => (j ? "L" : "M") + spot(i).map((v) => v.toFixed(1)).join(" ")).join("") }));
    for (const i of front) {
      const [a, b] = spot(i);
      made.append(svg("circle", { class: "on-front", "data-number": i, cx: a.toFixed(1), cy: b.toFixed(1), r: 4.5, fill: color }));
      const text = runs[i].label.slice(0, 24);
      const wide = text.length * 6.2;
      const end = a + wide + 8 > width;
      const box = [end ? a - wide - 8 : a + 8, b - 12, wide, 13];
      if (!taken.some((t) => box[0] < t[0] + t[2] && t[0] < box[0] + box[2] && box[1] < t[1] + t[3] && t[1] < box[1] + box[3]) && taken.length < 40) {
        taken.push(box);
        labels.append(svg("text", { class: "halo", x: end ? a - 8 : a + 8, y: b - 2, "text-anchor": end ? "end" : "start" }, text));
      }
    }
  });
  const ring = svg("circle", { class: "ring", r: 7, visibility: "hidden" });
  made.append(labels, ring);
  const tip = el("div", { class: "tip", hidden: true });
  chart.replaceChildren(made, tip);
  const visible = [...new Set(sets.flatMap(([, members]) => members))];
  plotted = { points: visible.map((i) => [...spot(i), i]).sort((a, b) => a[0] - b[0] || a[1] - b[1]), at: -1 };
  const mark = (nth, say) => {
    plotted.at = nth;
    if (nth < 0) { tip.hidden = true; ring.setAttribute("visibility", "hidden"); return; }
    const [a, b, i] = plotted.points[nth];
    ring.setAttribute("cx", a); ring.setAttribute("cy", b); ring.setAttribute("visibility", "visible");
    const value = (m) => `${m.title} ${format(m, m.values[i])}${m.unit ? ` ${m.unit}` : ""}${at(runs[i].intervals, m.score) ? ` (${range(m, runs[i].intervals[m.score])})` : ""}`;
    tip.replaceChildren(el("strong", {}, runs[i].label), el("div", {}, value(y)), el("div", {}, value(x)), el("div", {}, (runs[i].sets || []).map((s) => setNames[s])[0] || ""));
    tip.hidden = false;
    tip.style.left = `${Math.max(4, Math.min(a + 12, width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${b + 14 + tip.offsetHeight > height ? b - tip.offsetHeight - 10 : b + 14}px`;
    if (say) $("live").textContent = `${runs[i].label}: ${value(y)}, ${value(x)}`;
  };
  const nearest = (event) => {
    const area = made.getBoundingClientRect();
    const [mx, my] = [((event.clientX - area.left) * width) / area.width, ((event.clientY - area.top) * height) / area.height];
    let [best, at] = [900, -1];
    plotted.points.forEach(([a, b], j) => { const d = (a - mx) ** 2 + (b - my) ** 2; if (d < best) [best, at] = [d, j]; });
    return at;
  };
  chart.onpointermove = (event) => mark(nearest(event), false);
  chart.onpointerleave = () => mark(-1);
  chart.onclick = (event) => { const at = nearest(event); if (at >= 0) openRun(plotted.points[at][2]); };
  chart.onblur = () => mark(-1);
  chart.onkeydown = (event) => {
    const last = plotted.points.length - 1;
    const to = { ArrowRight: plotted.at + 1, ArrowDown: plotted.at + 1, ArrowLeft: plotted.at - 1, ArrowUp: plotted.at - 1, Home: 0, End: last }[event.key];
    if (event.key === "Enter" && plotted.at >= 0) openRun(plotted.points[plotted.at][2]);
    if (to === undefined || last < 0) return;
    event.preventDefault();
    mark(Math.min(last, Math.max(0, to)), true);
  };
}
