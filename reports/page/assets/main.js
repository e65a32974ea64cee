// Tabs, and what is drawn when.
const VIEWS = plain({ table: ["Runs", tableView], tradeoff: ["Trade-offs", tradeoffView], compare: ["Compare", compareView], choose: ["Choose", chooserView] });

function go(view) {
  set({ view });
  render();
  $("panel").focus({ preventScroll: true });
}

function renderTabs() {
  const names = Object.keys(VIEWS);
  if (!VIEWS[state.view]) state.view = "table";
  $("tabs").replaceChildren(...names.map((name, i) => el("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-selected": String(state.view === name), "aria-controls": "panel", tabindex: state.view === name ? "0" : "-1",
    click: () => { set({ view: name }); render(); $(`tab-${name}`).focus(); },
    keydown: (event) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: names.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      $(`tab-${names[(to + names.length) % names.length]}`).click();
    },
  }, VIEWS[name][0])));
  $("panel").setAttribute("aria-labelledby", `tab-${state.view}`);
}

function renderPanel() {
  applyFilters();
  $("panel").replaceChildren(...VIEWS[state.view][1]().flat(2).filter(Boolean));
  const counts = new Map();
  for (const run of runs) counts.set(run.status, (counts.get(run.status) || 0) + 1);
  const told = [...counts].map(([status, count]) => `${count.toLocaleString("en-US")} ${status}`).join(", ");
  $("summary").textContent = `${plural(runs.length, "run")}: ${told}${shown.length < runs.length ? ` · ${shown.length.toLocaleString("en-US")} shown` : ""}`;
}

function render() {
  renderTabs();
  $("filters").hidden = state.view === "compare";
  filterBar();
  renderPanel();
}

$("filters").addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", () => { readHash(); render(); showRun(); });
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => { if (state.view === "tradeoff") renderPanel(); }, 150);
});
for (const problem of data.problems) document.querySelector("header").append(el("p", { class: "warning" }, problem));
readHash();
render();
showRun();
document.documentElement.dataset.ready = "yes";
