// Charts: the data of charts.py, drawn by Plotly in the colours of the page when they come into view.
"use strict";

const COLORS = { light: ["#2563a8", "#c2571a", "#2f855a", "#8a4fbf", "#b7791f", "#c0396b", "#4a7c8c", "#6b7280"],
  dark: ["#6ea8e0", "#f0985a", "#6ac79a", "#b992e8", "#e0b35a", "#ee7fa8", "#86b8c8", "#a3abb8"] };
const darkQuery = window.matchMedia("(prefers-color-scheme: dark)");
const drawn = new Map(); // element -> function that draws it

function palette() {
  return darkQuery.matches ? COLORS.dark : COLORS.light;
}

function cssColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function translucent(color, alpha) {
  const value = parseInt(color.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${alpha})`;
}

const MAX_MARKERS = 30; // longer lines have no markers at their points
const PLOT_HEIGHT = 235;
const LEGEND_ROW = 20;

function shortName(name) {
  return name.length > 60 ? `${name.slice(0, 59)}\u2026` : name;
}

// Rows that Plotly needs for the legend: it puts names that do not fit into one row into equal columns.
function countLegendRows(chart, width) {
  const room = Math.max(1, width - 80);
  const sizes = chart.series.map((series) => 46 + 6.5 * shortName(series.name).length);
  if (sizes.reduce((sum, size) => sum + size, 0) <= room) return 1;
  return Math.ceil(sizes.length / Math.max(1, Math.floor(room / Math.max(...sizes))));
}

function layoutOf(chart, width) {
  const grid = cssColor("--line");
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, fixedrange: true };
  return {
    margin: { l: 52, r: chart.second_unit ? 58 : 14, t: 8, b: 36 },
    height: PLOT_HEIGHT + LEGEND_ROW * countLegendRows(chart, width),
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: cssColor("--text"), size: 11, family: "system-ui, sans-serif" },
    hovermode: "x unified",
    dragmode: false, // a finger on a chart scrolls the page
    hoverlabel: { bgcolor: cssColor("--panel"), bordercolor: grid, font: { color: cssColor("--text") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, traceorder: "normal" },
    xaxis: { ...axis, title: { text: chart.horizontal || "step" } },
    yaxis: { ...axis, exponentformat: exponentFormat(chart, false), automargin: true, title: { text: chart.unit }, range: chart.limits || undefined,
      type: chart.logarithmic ? "log" : "linear", rangemode: chart.limits ? "normal" : "tozero" },
    yaxis2: { ...axis, overlaying: "y", side: "right", showgrid: false, title: { text: chart.second_unit || "" },
      exponentformat: exponentFormat(chart, true), automargin: true, tickmode: "auto", nticks: 6,
      rangemode: "tozero" },
    shapes: (chart.marks || []).map((mark) => ({ type: "line", x0: mark.step, x1: mark.step, yref: "paper", y0: 0, y1: 1,
      line: { color: cssColor("--quiet"), width: 1, dash: "dot" } })),
    annotations: (chart.marks || []).map((mark) => ({ x: mark.step, yref: "paper", y: 1, text: plain(mark.label),
      showarrow: false, font: { size: 10 }, xanchor: "left", yanchor: "top" })),
  };
}

// Small values as 2e-5 instead of Plotly's 20 micro.
function exponentFormat(chart, secondAxis) {
  const values = chart.series.filter((series) => Boolean(series.second_axis) === secondAxis).flatMap((series) => series.y);
  return values.every((value) => Math.abs(value ?? 0) < 0.01) ? "e" : "SI";
}

// Plotly reads a few HTML tags in its texts: names that come from a run must not be read so.
function plain(text) {
  return visible(String(text)).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function tracesOf(chart) {
  const colors = palette();
  const isSparse = chart.series.every((series) => series.y.filter((value) => value !== null).length <= MAX_MARKERS);
  return chart.series.flatMap((series, index) => {
    const color = colors[(series.color ?? index) % colors.length];
    const base = { x: series.x, name: plain(shortName(series.name)), yaxis: series.second_axis ? "y2" : "y", connectgaps: false };
    if (series.kind === "area") return areaTraces(series, index, { ...base, line: { color, width: 0.5 }, fillcolor: translucent(color, 0.6) });
    const main = { ...base, y: series.y, type: "scatter", line: { color, width: 1.8, dash: series.dash ? "dot" : "solid" },
      marker: { color, size: 6 }, mode: isSparse ? "lines+markers" : "lines",
      ...(series.kind === "points" ? { mode: "markers", marker: { color, size: 8, symbol: series.symbols, opacity: 0.75 },
        text: (series.texts || []).map(plain), hovertemplate: "%{text}<extra></extra>" } : {}) };
    if (!series.low) return [main];
    const band = { ...base, mode: "lines", line: { width: 0 }, showlegend: false, hoverinfo: "skip" };
    return [{ ...band, y: series.low }, { ...band, y: series.high, fill: "tonexty", fillcolor: translucent(color, 0.18) }, main];
  });
}

// A trace for each part of an area without gaps: Plotly would draw an unknown value of stacked areas as 0.
function areaTraces(series, index, base) {
  const parts = [];
  series.y.forEach((value, place) => {
    if (value === null) return;
    if (place === 0 || series.y[place - 1] === null) parts.push({ x: [], y: [] });
    parts.at(-1).x.push(series.x[place]);
    parts.at(-1).y.push(value);
  });
  return parts.map(({ x, y }, part) => ({ ...base, x, y, type: "scatter", stackgroup: `part ${part}`, legendgroup: `area ${index}`,
    showlegend: part === 0, mode: y.length > 1 ? "lines" : "markers", marker: { color: base.line.color, size: 6 } }));
}

// Draw `chart` into `place` when it comes into view; again when the colours of the page change.
function drawWhenVisible(place, chart, onpoint = null) {
  place.dataset.state = "waiting";
  const drawNow = async () => {
    if (!drawn.has(place)) return; // its view was left while Plotly was loaded
    const layout = { ...layoutOf(chart, place.clientWidth), ...(onpoint ? { hovermode: "closest" } : {}) };
    await Plotly.react(place, tracesOf(chart), layout, { displayModeBar: false, responsive: true });
    if (onpoint && place.dataset.state !== "drawn") {
      place.on("plotly_click", (event) => onpoint(event.points[0].curveNumber, event.points[0].pointNumber));
    }
    place.dataset.state = "drawn";
  };
  const showFailure = (error) => {
    drawn.delete(place);
    place.replaceChildren(el("p", { class: "error" }, error.message));
    place.dataset.state = "failed";
  };
  const draw = () => whenPlotly().then(drawNow, showFailure);
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    drawn.set(place, draw);
    draw();
  }, { rootMargin: "300px" });
  observer.observe(place);
}

// Wait for the bundle, which the event "load" of the page waits for; an error if it could not be loaded.
async function whenPlotly() {
  if (!window.Plotly && document.readyState !== "complete") {
    await new Promise((resolve) => { window.addEventListener("load", resolve, { once: true }); });
  }
  if (!window.Plotly) {
    throw new Error("This chart cannot be drawn, since assets/plotly.min.js is missing or damaged. Build the report again.");
  }
}

// Free the charts of views that were left. Plotly keeps a listener for the size of each chart until it is purged.
function forgetCharts() {
  for (const place of drawn.keys()) {
    if (place.isConnected) continue;
    if (window.Plotly) Plotly.purge(place);
    drawn.delete(place);
  }
}

darkQuery.addEventListener("change", () => {
  for (const draw of drawn.values()) draw();
});

// The charts of a page that the template has made places for.
async function drawFrontCharts() {
  const front = await report.load("front");
  const charts = new Map(front.charts.map((chart) => [chart.id, chart]));
  for (const place of document.querySelectorAll("[data-chart]")) {
    if (charts.has(place.dataset.chart)) drawWhenVisible(place, charts.get(place.dataset.chart));
  }
}
