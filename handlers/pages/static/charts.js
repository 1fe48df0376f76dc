// The charts: their definitions, their legends and their points. The range of time is in the URL of the page.

import { figure, moment } from "./format.js";
import { Plot } from "./plot.js";

const RANGES = {
  "10m": { seconds: 600, title: "The last ten minutes" },
  "1h": { seconds: 3_600, title: "The last hour" },
  "1d": { seconds: 86_400, title: "The last day" },
};
const DEFAULT_RANGE = "10m";
const SHORTEST_SPAN_S = 30; // of the time axis, while the history is still shorter
const CLOCK_STEP_S = 600; // a point that is older than this was measured after the server's clock had been set back
const PARAMETER = "range"; // of the page, and of GET /metrics/events

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
const COLUMNS = ["time", "seconds", ...CHARTS.flatMap(({ lines }) => lines.map(({ column }) => column))];

/**
 * The charts in `container`. `setHistory` and `addPoint` take the data of the server's events. `onStale` is called when
 * the stream of events must be opened again: with another range, or with points that cover more time.
 */
export class Charts {
  #columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
  #charts;
  #onStale;
  #title = document.getElementById("charts-title");
  #ranges = document.getElementById("ranges");
  #range = chosenRange();
  #shownRange = null; // the range of the points
  #begin = null; // the time of the server's first point
  #coveredS = 0; // the time that the server covers with points of this length
  #isDue = false;

  constructor(container, { onStale }) {
    this.#onStale = onStale;
    this.#charts = CHARTS.map((chart) => build(container, chart));
    this.#ranges.addEventListener("click", (event) => this.#follow(event));
    addEventListener("popstate", () => this.#choose(chosenRange()));
    document.addEventListener("visibilitychange", () => this.#draw());
    this.#markRange();
    this.#draw();
  }

  /** The path of the events with the points of the chosen range. */
  get path() {
    return this.#range === DEFAULT_RANGE ? "metrics/events" : `metrics/events?${PARAMETER}=${this.#range}`;
  }

  /** Shows the server's history, and keeps older points of an earlier server process. */
  setHistory(history) {
    this.#begin = history.time[0] ?? null;
    this.#coveredS = history.covered_seconds;
    const begin = this.#begin ?? Infinity;
    const isSame = this.#shownRange === this.#range;
    const kept = isSame ? this.#columns.time.filter((time) => time < begin).length : 0;
    for (const name of COLUMNS) this.#columns[name] = [...this.#columns[name].slice(0, kept), ...history[name]];
    this.#shownRange = this.#range;
    this.#show();
  }

  /** Adds a point, in place of a point with the same time. */
  addPoint(point) {
    const { time } = this.#columns;
    this.#begin ??= point.time;
    let place = time.findLastIndex((each) => each <= point.time) + 1;
    const isKnown = place > 0 && time[place - 1] === point.time;
    if (isKnown) place -= 1;
    const isClockSetBack = time.at(-1) > point.time && (point.seconds === 1 || time.at(-1) - point.time > CLOCK_STEP_S);
    const replaced = isClockSetBack ? Infinity : Number(isKnown);
    for (const name of COLUMNS) this.#columns[name].splice(place, replaced, point[name]);
    if (this.#coveredS < RANGES[this.#range].seconds && time.at(-1) - this.#begin > this.#coveredS) this.#onStale();
    this.#show();
  }

  /** Chooses the range of the link that was clicked, unless the click opens another tab. */
  #follow(event) {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const address = new URL(location);
    address.searchParams.set(PARAMETER, link.dataset.range);
    history.replaceState(history.state, "", address);
    this.#choose(link.dataset.range);
  }

  #choose(range) {
    if (range === this.#range) return;
    this.#range = range;
    this.#markRange();
    this.#onStale();
  }

  #markRange() {
    for (const link of this.#ranges.querySelectorAll("a")) {
      if (link.dataset.range === this.#range) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  #show() {
    const { time } = this.#columns;
    const expired = time.findLastIndex((each) => each <= time.at(-1) - RANGES[this.#shownRange].seconds) + 1;
    if (expired) for (const name of COLUMNS) this.#columns[name].splice(0, expired);
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
      const { time, seconds } = this.#columns;
      const range = RANGES[this.#shownRange ?? this.#range];
      const newest = time.at(-1) ?? Date.now() / 1_000;
      // Until the history fills the range, the charts begin with the history.
      const begin = Math.max(newest - range.seconds, time[0] ?? newest);
      const end = Math.max(newest, begin + SHORTEST_SPAN_S);
      const isFull = !time.length || newest - begin > range.seconds - 1.5 * seconds[0];
      const title = isFull ? range.title : `Since ${moment(new Date(begin * 1_000))}`;
      if (this.#title.textContent !== title) this.#title.textContent = title;
      for (const { plot, lines, scale = 1 } of this.#charts) {
        const scaled = (value) => (value === null ? null : value * scale);
        plot.draw({ time, seconds, begin, end, values: lines.map(({ column }) => this.#columns[column].map(scaled)) });
      }
    });
  }
}

/** The range in the URL of the page. */
function chosenRange() {
  const chosen = new URLSearchParams(location.search).get(PARAMETER);
  return Object.hasOwn(RANGES, chosen ?? "") ? chosen : DEFAULT_RANGE;
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
