// Counts as bars, by chart.js, with the same numbers as a table for whoever cannot see them.

import { h } from "./dom.js";
import * as format from "./format.js";
import { empty } from "./parts.js";

const MAX_BARS = 12;
const MAX_DAYS = 90;

let library;

async function chartLibrary() {
  library ??= import("../vendor/chart.js").then(() => globalThis.Chart);
  return library;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The largest bars, and one for the rest. */
function top(bars) {
  if (bars.length <= MAX_BARS) return bars;
  const rest = bars.slice(MAX_BARS - 1);
  return [...bars.slice(0, MAX_BARS - 1), { name: `${rest.length} others`, count: rest.reduce((sum, bar) => sum + bar.count, 0) }];
}

function config(bars, { lying }) {
  const grid = { color: css("--line") };
  const ticks = { color: css("--muted"), precision: 0 };
  const count = { beginAtZero: true, grid, ticks, border: { display: false } };
  const names = { grid: { display: false }, ticks: { ...ticks, autoSkip: !lying }, border: { color: css("--line") } };
  return {
    type: "bar",
    data: { labels: bars.map((bar) => bar.name), datasets: [{ data: bars.map((bar) => bar.count), backgroundColor: css("--accent"), borderRadius: 4, maxBarThickness: 26 }] },
    options: {
      animation: false,
      indexAxis: lying ? "y" : "x",
      maintainAspectRatio: false,
      plugins: { legend: { display: false } },
      scales: lying ? { x: count, y: names } : { x: names, y: count },
    },
  };
}

function chart(title, bars, options) {
  const canvas = h("canvas", { role: "img", "aria-label": `${title}: ${bars.map((bar) => `${bar.name} ${bar.count}`).join(", ")}` });
  const box = h("div", { class: "chart-box" }, canvas);
  const draw = async () => {
    const Chart = await chartLibrary();
    Chart.getChart(canvas)?.destroy();
    if (!canvas.isConnected) {
      document.removeEventListener("themechange", draw);
      return;
    }
    new Chart(canvas, config(bars, options));
  };
  document.addEventListener("themechange", draw);
  requestAnimationFrame(draw);
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, title),
    box,
    h(
      "details",
      { "data-key": `table ${title}` },
      h("summary", {}, "As a table"),
      h("table", {}, h("caption", { class: "hidden" }, title), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Name"), h("th", { scope: "col", class: "right" }, "Threats"))), h("tbody", {}, bars.map((bar) => h("tr", {}, h("td", {}, bar.name), h("td", { class: "right" }, format.number(bar.count)))))),
    ),
  );
}

export function drawCharts(counts) {
  if (!counts.available) return empty("No counts yet", "The pipeline plot writes them when its first job is done.");
  return [
    h("h2", {}, `${format.plural(counts.total, "threat")} in all`),
    counts.total > 0 &&
      h(
        "div",
        { class: "charts" },
        chart("Threats by device", top(counts.devices), { lying: true }),
        chart(`Threats by day (${counts.time_zone})`, counts.days.slice(-MAX_DAYS), { lying: false }),
        counts.classes.length > 0 && chart("Threats by class", top(counts.classes), { lying: true }),
      ),
  ];
}
