// The charts of the last ten minutes, drawn by plotly.js, which is loaded once the rest of the page has been painted.

import { figure } from "./format.js";

const KEPT = 600;
const GAP_S = 3;
const WINDOW_MS = 600_000;

const CHARTS = [
  {
    title: "Orders per second",
    unit: "/s",
    lowestTop: 10,
    lines: [
      { name: "accepted", column: "accepted_per_second", color: "--blue" },
      { name: "completed", column: "completed_per_second", color: "--green" },
    ],
  },
  {
    title: "Queue",
    unit: "",
    lowestTop: 10,
    lines: [
      { name: "Pending", column: "pending", color: "--orange" },
      { name: "Processing", column: "processing", color: "--blue" },
    ],
  },
  {
    title: "Request to 202, ms",
    unit: " ms",
    lowestTop: 1,
    scale: 1_000,
    lines: [
      { name: "p50", column: "ack_p50_seconds", color: "--blue" },
      { name: "p99", column: "ack_p99_seconds", color: "--orange" },
    ],
  },
  {
    title: "Processing, an attempt, ms",
    unit: " ms",
    lowestTop: 1,
    scale: 1_000,
    lines: [
      { name: "p50", column: "processing_p50_seconds", color: "--blue" },
      { name: "p99", column: "processing_p99_seconds", color: "--orange" },
    ],
  },
];
const COLUMNS = ["time", ...CHARTS.flatMap(({ lines }) => lines.map(({ column }) => column))];

/** Charts within an element; `setHistory` and `addPoint` take what the server's events hold. */
export class Charts {
  #columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
  #charts;
  #plotly = null;
  #isDue = false;

  constructor(container) {
    this.#charts = CHARTS.map((chart) => build(container, chart));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    document.addEventListener("visibilitychange", () => this.#draw());
    // Two frames: the first one is being painted when the second is asked for.
    requestAnimationFrame(() => requestAnimationFrame(() => this.#load()));
  }

  /** Takes over the server's history; what was seen of an earlier server process stays before it. */
  setHistory(history) {
    const begin = history.time[0] ?? Infinity;
    const kept = this.#columns.time.filter((time) => time < begin).length;
    for (const name of COLUMNS) {
      this.#columns[name] = [...this.#columns[name].slice(0, kept), ...history[name]].slice(-KEPT);
    }
    this.#show();
  }

  addPoint(point) {
    for (const name of COLUMNS) {
      this.#columns[name].push(point[name]);
      if (this.#columns[name].length > KEPT) this.#columns[name].shift();
    }
    this.#show();
  }

  #show() {
    for (const { lines, values, unit, scale = 1 } of this.#charts) {
      lines.forEach(({ column }, index) => {
        const value = this.#columns[column].at(-1) ?? null;
        values[index].textContent = value === null ? "–" : figure(value * scale) + unit;
      });
    }
    this.#draw();
  }

  #load() {
    const script = document.createElement("script");
    script.src = "dashboard/plotly.min.js";
    script.addEventListener("load", () => {
      this.#plotly = globalThis.Plotly;
      for (const { plot } of this.#charts) plot.textContent = "";
      this.#draw();
    });
    script.addEventListener("error", () => {
      for (const { plot } of this.#charts) plot.textContent = "The chart can't be drawn: plotly.js did not load.";
    });
    document.head.append(script);
  }

  #draw() {
    if (!this.#plotly || document.hidden || this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      const style = getComputedStyle(document.documentElement);
      const color = (name) => style.getPropertyValue(name).trim();
      const { time } = this.#columns;
      const end = (time.at(-1) ?? Date.now() / 1_000) * 1_000;
      const gaps = time.flatMap((each, index) => (index && each - time[index - 1] > GAP_S ? [index] : []));
      const x = withGaps(time, gaps, (index) => time[index - 1]).map((each) => new Date(each * 1_000));
      for (const { plot, lines, unit, lowestTop, scale = 1 } of this.#charts) {
        const traces = lines.flatMap(({ name, column, color: of }) => {
          const y = withGaps(this.#columns[column], gaps, () => null).map((value) => (value === null ? null : value * scale));
          return drawn({ name, x, y, color: color(of), unit });
        });
        const top = 1.05 * Math.max(lowestTop, ...traces.flatMap(({ y }) => y));
        this.#plotly.react(plot, traces, layout(color, end, top), { displayModeBar: false, responsive: true });
      }
    });
  }
}

function build(container, chart) {
  const figureElement = document.getElementById("chart-template").content.cloneNode(true).firstElementChild;
  figureElement.querySelector("h3").textContent = chart.title;
  const values = chart.lines.map(({ name, color }) => {
    const item = document.createElement("li");
    const value = document.createElement("b");
    value.textContent = "–";
    item.style.setProperty("--swatch", `var(${color})`);
    item.append(name, " ", value);
    figureElement.querySelector(".legend").append(item);
    return value;
  });
  container.append(figureElement);
  const plot = figureElement.querySelector(".plot");
  plot.setAttribute("aria-label", chart.title);
  return { ...chart, values, plot };
}

/** The traces that draw a line, and as dots the values that have none beside them. */
function drawn({ name, x, y, color, unit }) {
  const isAlone = (value, index) => value !== null && (y[index - 1] ?? null) === null && (y[index + 1] ?? null) === null;
  const of = (values) => values.filter((_, index) => isAlone(y[index], index));
  return [
    { type: "scatter", mode: "lines", name, x, y, line: { color, width: 1.5 }, hovertemplate: `%{y:,.3~r}${unit}` },
    { type: "scatter", mode: "markers", x: of(x), y: of(y), marker: { color, size: 4 }, hoverinfo: "skip" },
  ];
}

/** The values with one more before each of these places, which breaks the line there. */
function withGaps(values, places, filler) {
  if (!places.length) return values;
  const result = [];
  values.forEach((value, index) => {
    if (places.includes(index)) result.push(filler(index));
    result.push(value);
  });
  return result;
}

function layout(color, end, top) {
  const grid = { gridcolor: color("--line-faint"), linecolor: color("--line"), fixedrange: true };
  return {
    height: 190,
    margin: { l: 46, r: 12, t: 8, b: 28 },
    showlegend: false,
    dragmode: false,
    hovermode: "x unified",
    hoverlabel: { bgcolor: color("--surface"), bordercolor: color("--line"), font: { color: color("--text") } },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: "system-ui, sans-serif", size: 11, color: color("--muted") },
    xaxis: { ...grid, type: "date", range: [new Date(end - WINDOW_MS), new Date(end)], nticks: 6, tickformat: "%H:%M", hoverformat: "%H:%M:%S", showgrid: false },
    yaxis: { ...grid, range: [0, top], nticks: 5, zeroline: false, tickformat: top < 10_000 ? ",~r" : "~s" },
  };
}
