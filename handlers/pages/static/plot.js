// A plot: one chart of the last ten minutes, drawn as SVG. charts.css sets its colors for the system's color scheme.

import { axisNumber, figure, hourAndMinute, timeOfDay } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 190;
const MARGIN = { left: 46, right: 12, top: 8, bottom: 28 };
const WINDOW_S = 600;
const TIME_STEP_S = 120;
const MAX_STEPS = 5; // at most this many intervals between the numbers of the vertical axis
const HEADROOM = 1.05;
const GAP_S = 3; // points further apart are not connected

/** A plot in `container`. Each of `chart.lines` has a name and a color. The value axis reaches `chart.lowestTop`. */
export class Plot {
  #container;
  #chart;
  #svg = element("svg", { height: HEIGHT });
  #axes = element("g", { class: "axes" });
  #window = element("svg", { class: "window", x: MARGIN.left, y: MARGIN.top, preserveAspectRatio: "none" });
  #cursor = element("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
  #readout = document.createElement("div");
  #paths;
  #data = { time: [], values: [], end: 0 };
  #pointer = null;

  constructor(container, chart) {
    this.#container = container;
    this.#chart = chart;
    this.#paths = chart.lines.map(({ color }) => {
      const pair = { line: element("path", { class: "line" }), dots: element("path", { class: "dots" }) };
      for (const path of Object.values(pair)) path.style.setProperty("--swatch", `var(${color})`);
      return pair;
    });
    this.#window.append(...this.#paths.flatMap(({ line, dots }) => [line, dots]));
    this.#svg.append(this.#axes, this.#window, this.#cursor);
    this.#readout.className = "readout";
    this.#readout.hidden = true;
    container.setAttribute("aria-label", chart.title);
    container.append(this.#svg, this.#readout);
    for (const type of ["pointermove", "pointerdown"]) {
      container.addEventListener(type, ({ clientX }) => this.#point(clientX - container.getBoundingClientRect().left));
    }
    // A lifted finger also causes `pointerleave`. The values then stay visible until the next touch elsewhere.
    container.addEventListener("pointerleave", ({ pointerType }) => pointerType === "touch" || this.#point(null));
    document.addEventListener("pointerdown", ({ target }) => container.contains(target) || this.#point(null));
    new ResizeObserver(() => this.#draw()).observe(container);
  }

  /** Draws these points: `time` in seconds since 1970, and a list of `values` for each line. The plot ends at `end`. */
  draw(data) {
    this.#data = data;
    this.#draw();
  }

  #draw() {
    const width = this.#container.clientWidth;
    const { time, values, end } = this.#data;
    const plotted = { width: Math.max(width - MARGIN.left - MARGIN.right, 1), height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const top = HEADROOM * Math.max(this.#chart.lowestTop, ...values.flat());
    const origin = time[0] ?? end;
    setAttributes(this.#svg, { width });
    // The coordinates in a path are seconds since the first point, and values. The viewBox scales them to the plot.
    setAttributes(this.#window, { ...plotted, viewBox: `${end - WINDOW_S - origin} ${-top} ${WINDOW_S} ${top}` });
    this.#paths.forEach(({ line, dots }, index) => {
      const strokes = continuous(time, values[index] ?? []);
      line.setAttribute("d", strokes.filter((stroke) => stroke.length > 1).map((stroke) => path(stroke, origin)).join(""));
      dots.setAttribute("d", strokes.filter((stroke) => stroke.length === 1).map((stroke) => `${path(stroke, origin)}h0`).join(""));
    });
    this.#axes.replaceChildren(...valueAxis(top, plotted, width), ...timeAxis(end, plotted));
    this.#read();
  }

  #point(pointer) {
    this.#pointer = pointer;
    this.#read();
  }

  /** Shows the values at the point in time that is nearest to the pointer. */
  #read() {
    const { time, values, end } = this.#data;
    const width = this.#container.clientWidth - MARGIN.left - MARGIN.right;
    const wanted = this.#pointer === null ? null : end - WINDOW_S * (1 - (this.#pointer - MARGIN.left) / width);
    const nearest = wanted === null ? -1 : nearestIndex(time, wanted, end - WINDOW_S);
    this.#readout.hidden = nearest < 0;
    this.#cursor.setAttribute("visibility", nearest < 0 ? "hidden" : "visible");
    if (nearest < 0) return;
    const place = MARGIN.left + width * (1 - (end - time[nearest]) / WINDOW_S);
    setAttributes(this.#cursor, { x1: place, x2: place });
    this.#readout.classList.toggle("left", place > this.#container.clientWidth / 2);
    this.#readout.style.setProperty("--place", `${place}px`);
    const rows = this.#chart.lines.flatMap(({ name, color }, index) => {
      const value = values[index][nearest];
      if (value === null) return [];
      const row = withText(document.createElement("span"), `${name} : ${figure(value)}${this.#chart.unit}`);
      row.style.setProperty("--swatch", `var(${color})`);
      return [row];
    });
    this.#readout.replaceChildren(withText(document.createElement("b"), timeOfDay(new Date(time[nearest] * 1_000))), ...rows);
  }
}

/** The index of the time that is nearest to `wanted` and not before `begin`, or -1. */
function nearestIndex(time, wanted, begin) {
  let nearest = -1;
  time.forEach((each, index) => {
    if (each >= begin && !(Math.abs(each - wanted) >= Math.abs(time[nearest] - wanted))) nearest = index;
  });
  return nearest;
}

/** The points of a line, split where a value is missing and where more than GAP_S seconds pass. */
function continuous(time, values) {
  const strokes = [];
  let last = -Infinity;
  values.forEach((value, index) => {
    if (value === null) return;
    const isNext = values[index - 1] !== null && time[index] - last <= GAP_S;
    if (!isNext) strokes.push([]);
    strokes.at(-1).push([time[index], value]);
    last = time[index];
  });
  return strokes;
}

const path = (stroke, origin) => `M${stroke.map(([time, value]) => `${time - origin} ${-value}`).join("L")}`;

function valueAxis(top, plotted, width) {
  const marks = [element("path", { d: `M${MARGIN.left} ${MARGIN.top}v${plotted.height}h${plotted.width}` })];
  const step = roundStep(top / MAX_STEPS);
  for (let index = 0; index * step <= top; index += 1) {
    const value = Number((index * step).toPrecision(12));
    const y = MARGIN.top + plotted.height * (1 - value / top);
    marks.unshift(element("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }));
    marks.push(withText(element("text", { class: "value", x: MARGIN.left - 6, y: y + 4 }), axisNumber(value, top)));
  }
  return marks;
}

function timeAxis(end, plotted) {
  const labels = [];
  for (let time = Math.floor(end / TIME_STEP_S) * TIME_STEP_S; time >= end - WINDOW_S; time -= TIME_STEP_S) {
    const x = MARGIN.left + plotted.width * (1 - (end - time) / WINDOW_S);
    const mark = element("text", { class: "time", x, y: HEIGHT - MARGIN.bottom + 16 });
    labels.push(withText(mark, hourAndMinute(new Date(time * 1_000))));
  }
  return labels;
}

/** The smallest number that is at least `least` and is 1, 2 or 5 times a power of ten. */
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= least);
}

function element(name, attributes) {
  return setAttributes(document.createElementNS(SVG, name), attributes);
}

function setAttributes(target, attributes) {
  for (const [name, value] of Object.entries(attributes)) target.setAttribute(name, value);
  return target;
}

function withText(target, text) {
  target.textContent = text;
  return target;
}
