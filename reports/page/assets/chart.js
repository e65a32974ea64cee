// Axes, ticks and lines for the scatter and the curves.
function niceTicks(low, high, wanted) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + span * 1e-9; i++) found.push(i * step);
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const each of high - low < 2.5 ? [1, 2, 5] : [1]) {
      const tick = Math.log10(each) + power;
      if (tick >= low - 1e-9 && tick <= high + 1e-9) found.push(tick);
    }
  }
  return found;
}

const SHORT = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4, notation: "compact" });
const shortNumber = (value) => SHORT.format(Math.abs(value) < 1e-12 ? 0 : value).replace("-", MINUS);

// A scale from values to pixels, with its ticks; `log` takes values above 0 alone.
function scale(values, log, from, to, wanted) {
  const at = (value) => (log ? Math.log10(value) : value);
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) { low = Math.min(low, at(value)); high = Math.max(high, at(value)); }
  if (!(low <= high)) [low, high] = [0, 1];
  const margin = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  [low, high] = [low - margin, high + margin];
  const place = (value) => from + ((at(value) - low) / (high - low)) * (to - from);
  const ticks = (log ? logTicks(low, high).map((tick) => 10 ** tick) : niceTicks(low, high, wanted)).map((value) => [place(value), value]);
  return { place, ticks };
}

// A frame with grid, ticks and titles: [svg, x scale, y scale].
function frame(width, height, xs, ys, { logx, logy, xTitle, yTitle, xText = shortNumber, yText = shortNumber, label }) {
  const [left, bottom, top, right] = [54, 38, 22, 12];
  const x = scale(xs, logx, left, width - right, Math.max(3, width / 110));
  const y = scale(ys, logy, height - bottom, top, Math.max(3, height / 70));
  const made = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  for (const [at, value] of y.ticks) {
    made.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }), svg("text", { class: "axis", x: left - 6, y: at + 4, "text-anchor": "end" }, yText(value)));
  }
  for (const [at, value] of x.ticks) {
    made.append(svg("line", { class: "grid", x1: at, x2: at, y1: top, y2: height - bottom }), svg("text", { class: "axis", x: at, y: height - bottom + 15, "text-anchor": "middle" }, xText(value)));
  }
  made.append(svg("text", { x: width - right, y: height - 5, "text-anchor": "end" }, xTitle), svg("text", { x: 4, y: 12 }, yTitle));
  return [made, x, y];
}

// Loss by step of one or two runs; null where none has a curve.
function curves(numbers, width) {
  const lines = numbers.flatMap((number, i) => Object.entries(later(number).curve).map(([name, points]) => ({ i, name, points })));
  if (!lines.length) return null;
  const points = lines.flatMap((line) => line.points);
  const [made, x, y] = frame(width, 230, points.map((p) => p[0]), points.map((p) => p[1]), { xTitle: "step", yTitle: "loss [nats/token, or nats/text under a head]", label: "Loss by step" });
  const color = ["var(--s0)", "var(--s1)"];
  for (const { i, name, points } of lines) {
    const path = points.map(([step, value], j) => `${j ? "L" : "M"}${x.place(step).toFixed(1)} ${y.place(value).toFixed(1)}`).join("");
    if (name === "loss") made.append(svg("path", { class: "front", d: path, stroke: color[i] }));
    else {
      made.append(svg("path", { class: "front", d: path, stroke: color[i], "stroke-dasharray": "4 3" }));
      for (const [step, value] of points) made.append(svg("circle", { cx: x.place(step), cy: y.place(value), r: 3.5, fill: color[i] }));
    }
  }
  const legend = lines.map(({ i, name }) => el("span", {}, el("i", { style: `background:${color[i]}` }),
    `${numbers.length > 1 ? `${"AB"[i]}: ` : ""}${name === "loss" ? "training loss" : "validation loss (dots)"}`));
  return el("div", {}, el("div", { class: "legend" }, legend), made);
}
