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

function layoutOf(chart) {
  const grid = cssColor("--line");
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, fixedrange: true };
  return {
    margin: { l: 52, r: chart.second_unit ? 52 : 14, t: 8, b: 36 },
    height: 260,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: cssColor("--text"), size: 11, family: "system-ui, sans-serif" },
    hovermode: "x unified",
    hoverlabel: { bgcolor: cssColor("--panel"), bordercolor: grid, font: { color: cssColor("--text") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    xaxis: { ...axis, title: { text: chart.horizontal || "step" } },
    yaxis: { ...axis, title: { text: chart.unit }, range: chart.limits || undefined,
      type: chart.logarithmic ? "log" : "linear", rangemode: chart.limits ? "normal" : "tozero" },
    yaxis2: { ...axis, overlaying: "y", side: "right", showgrid: false, title: { text: chart.second_unit || "" } },
    shapes: (chart.marks || []).map((mark) => ({ type: "line", x0: mark.step, x1: mark.step, yref: "paper", y0: 0, y1: 1,
      line: { color: cssColor("--quiet"), width: 1, dash: "dot" } })),
    annotations: (chart.marks || []).map((mark) => ({ x: mark.step, yref: "paper", y: 1, text: plain(mark.label),
      showarrow: false, font: { size: 10 }, xanchor: "left", yanchor: "top" })),
  };
}

// Plotly reads a few HTML tags in its texts: names that come from a run must not be read so.
function plain(text) {
  return visible(String(text)).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function tracesOf(chart) {
  const colors = palette();
  return chart.series.flatMap((series, index) => {
    const color = colors[(series.color ?? index) % colors.length];
    const base = { x: series.x, name: plain(series.name), yaxis: series.second_axis ? "y2" : "y", connectgaps: false };
    const main = { ...base, y: series.y, type: "scatter", line: { color, width: 1.8, dash: series.dash ? "dot" : "solid" },
      marker: { color, size: 6 }, mode: isSparse(series) ? "lines+markers" : "lines",
      ...(series.kind === "area" ? { stackgroup: "parts", line: { color, width: 0.5 } } : {}),
      ...(series.kind === "points" ? { mode: "markers", marker: { color, size: 8, symbol: series.symbols, opacity: 0.75 },
        text: (series.texts || []).map(plain), hovertemplate: "%{text}<extra></extra>" } : {}) };
    if (!series.low) return [main];
    const band = { ...base, mode: "lines", line: { width: 0 }, showlegend: false, hoverinfo: "skip" };
    return [{ ...band, y: series.low }, { ...band, y: series.high, fill: "tonexty", fillcolor: translucent(color, 0.18) }, main];
  });
}

function isSparse(series) {
  return series.y.filter((value) => value !== null).length <= 30;
}

// Draw `chart` into `place` when it comes into view; again when the colours of the page change.
function drawWhenVisible(place, chart, onpoint = null) {
  place.dataset.state = "waiting";
  const draw = () => whenPlotly().then(() => {
    const layout = { ...layoutOf(chart), ...(onpoint ? { hovermode: "closest" } : {}) };
    return Plotly.react(place, tracesOf(chart), layout, { displayModeBar: false, responsive: true });
  }).then(() => {
    if (onpoint && place.dataset.state !== "drawn") {
      place.on("plotly_click", (event) => onpoint(event.points[0].curveNumber, event.points[0].pointNumber));
    }
    place.dataset.state = "drawn";
  });
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    drawn.set(place, draw);
    draw();
  }, { rootMargin: "300px" });
  observer.observe(place);
}

function whenPlotly() {
  if (window.Plotly) return Promise.resolve();
  return new Promise((resolve) => { window.addEventListener("load", () => resolve(), { once: true }); });
}

darkQuery.addEventListener("change", () => {
  for (const [place, draw] of drawn) {
    if (place.isConnected) draw();
    else drawn.delete(place);
  }
});

// The charts of a page that the template has made places for.
async function drawFrontCharts() {
  const front = await report.load("front");
  const charts = new Map(front.charts.map((chart) => [chart.id, chart]));
  for (const place of document.querySelectorAll("[data-chart]")) {
    if (charts.has(place.dataset.chart)) drawWhenVisible(place, charts.get(place.dataset.chart));
  }
}
