// The charts of the last ten minutes: their definitions, their legends and their points.

import { figure } from "./format.js";
import { Plot } from "./plot.js";

const MAX_POINTS = 600;

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

/** The charts in `container`. `setHistory` and `addPoint` take the data of the server's events. */
export class Charts {
  #columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
  #charts;
  #isDue = false;

  constructor(container) {
    this.#charts = CHARTS.map((chart) => build(container, chart));
    document.addEventListener("visibilitychange", () => this.#draw());
    this.#draw();
  }

  /** Shows the server's history, and keeps older points of an earlier server process. */
  setHistory(history) {
    const begin = history.time[0] ?? Infinity;
    const kept = this.#columns.time.filter((time) => time < begin).length;
    for (const name of COLUMNS) {
      this.#columns[name] = [...this.#columns[name].slice(0, kept), ...history[name]].slice(-MAX_POINTS);
    }
    this.#show();
  }

  addPoint(point) {
    for (const name of COLUMNS) {
      this.#columns[name].push(point[name]);
      if (this.#columns[name].length > MAX_POINTS) this.#columns[name].shift();
    }
    this.#show();
  }

  #show() {
    for (const { lines, legend, unit, scale = 1 } of this.#charts) {
      lines.forEach(({ column }, index) => {
        const value = this.#columns[column].at(-1) ?? null;
        legend[index].textContent = value === null ? "–" : figure(value * scale) + unit;
      });
    }
    this.#draw();
  }

  /** Draws once, in the next frame. Does nothing while the page is hidden. */
  #draw() {
    if (document.hidden || this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      const { time } = this.#columns;
      const end = time.at(-1) ?? Date.now() / 1_000;
      for (const { plot, lines, scale = 1 } of this.#charts) {
        const scaled = (value) => (value === null ? null : value * scale);
        plot.draw({ time, end, values: lines.map(({ column }) => this.#columns[column].map(scaled)) });
      }
    });
  }
}

function build(container, chart) {
  const figureElement = document.getElementById("chart-template").content.cloneNode(true).firstElementChild;
  figureElement.querySelector("h3").textContent = chart.title;
  const legend = chart.lines.map(({ name, color }) => {
    const item = document.createElement("li");
    const value = document.createElement("b");
    value.textContent = "–";
    item.style.setProperty("--swatch", `var(${color})`);
    item.append(name, " ", value);
    figureElement.querySelector(".legend").append(item);
    return value;
  });
  container.append(figureElement);
  return { ...chart, legend, plot: new Plot(figureElement.querySelector(".plot"), chart) };
}
