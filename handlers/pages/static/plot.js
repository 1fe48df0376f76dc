// A plot: one chart, drawn as SVG. charts.css sets its colors for the system's color scheme.

import { axisNumber, figure, moment } from "./format.js";
import { timeMarks } from "./time_axis.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 190;
const MARGIN = { left: 46, right: 12, top: 8, bottom: 28 };
const DIGIT_WIDTH = 7; // of the numbers of the axes, in pixels
const MAX_STEPS = 5; // at most this many intervals between the numbers of the vertical axis
const HEADROOM = 1.05;
const SHORTEST_GAP_S = 3; // points of a second that are further apart are not connected
const LONGEST_STEP = 1.5; // nor are points that are more than this many intervals apart

/** A plot in `container`. Each of `chart.lines` has a name and a color. The value axis reaches `chart.lowestTop`. */
export class Plot {
  #container;
  #chart;
  #svg = element("svg", { height: HEIGHT });
  #gaps = element("g", { class: "gaps" });
  #axes = element("g", { class: "axes" });
  #window = element("svg", { class: "window", x: MARGIN.left, y: MARGIN.top, preserveAspectRatio: "none" });
  #cursor = element("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
  #readout = document.createElement("div");
  #paths;
  #data = { time: [], seconds: [], values: [], begin: 0, end: 1 };
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
    this.#svg.append(this.#gaps, this.#axes, this.#window, this.#cursor);
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

  /**
   * Draws the points from `begin` to `end`: `time` in seconds since 1970, how many `seconds` each point describes, and a
   * list of `values` for each line. Where points are missing, the background shows the gap.
   */
  draw(data) {
    this.#data = data;
    this.#draw();
  }

  #draw() {
    const width = this.#container.clientWidth;
    const { time, seconds, values, begin, end } = this.#data;
    const span = end - begin;
    const plotted = { width: Math.max(width - MARGIN.left - MARGIN.right, 1), height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const top = HEADROOM * Math.max(this.#chart.lowestTop, ...values.flat());
    const origin = time[0] ?? begin;
    setAttributes(this.#svg, { width });
    // The coordinates in a path are seconds since the first point, and values. The viewBox scales them to the plot.
    setAttributes(this.#window, { ...plotted, viewBox: `${begin - origin} ${-top} ${span} ${top}` });
    this.#paths.forEach(({ line, dots }, index) => {
      const strokes = continuous(time, seconds, values[index] ?? []);
      line.setAttribute("d", strokes.filter((stroke) => stroke.length > 1).map((stroke) => path(stroke, origin)).join(""));
      dots.setAttribute("d", strokes.filter((stroke) => stroke.length === 1).map((stroke) => `${path(stroke, origin)}h0`).join(""));
    });
    this.#gaps.replaceChildren(...gaps(time, seconds).map((gap) => this.#shade(gap, plotted)));
    this.#axes.replaceChildren(...valueAxis(top, plotted, width), ...timeAxis(begin, end, plotted));
    this.#read();
  }

  #shade([from, to], { width, height }) {
    const { begin, end } = this.#data;
    const x = (time) => MARGIN.left + (width * (Math.max(time, begin) - begin)) / (end - begin);
    return element("rect", { x: x(from), y: MARGIN.top, width: x(to) - x(from), height });
  }

  #point(pointer) {
    this.#pointer = pointer;
    this.#read();
  }

  /** Shows the values at the point in time that is nearest to the pointer, or that there are none. */
  #read() {
    const { time, seconds, values, begin, end } = this.#data;
    const width = this.#container.clientWidth - MARGIN.left - MARGIN.right;
    const wanted = this.#pointer === null ? null : begin + ((end - begin) * (this.#pointer - MARGIN.left)) / width;
    const nearest = wanted === null ? -1 : nearestIndex(time, wanted);
    this.#readout.hidden = nearest < 0;
    this.#cursor.setAttribute("visibility", nearest < 0 ? "hidden" : "visible");
    if (nearest < 0) return;
    const isInGap = gaps(time, seconds).some(([from, to]) => from < wanted && wanted < to);
    const shown = isInGap ? wanted : time[nearest];
    const place = MARGIN.left + (width * (shown - begin)) / (end - begin);
    setAttributes(this.#cursor, { x1: place, x2: place });
    this.#readout.classList.toggle("left", place > this.#container.clientWidth / 2);
    this.#readout.style.setProperty("--place", `${place}px`);
    const rows = this.#chart.lines.flatMap(({ name, color }, index) => {
      const value = values[index][nearest];
      if (value === null || isInGap) return [];
      const row = withText(document.createElement("span"), `${name} : ${figure(value)}${this.#chart.unit}`);
      row.style.setProperty("--swatch", `var(${color})`);
      return [row];
    });
    const heading = withText(document.createElement("b"), moment(new Date(shown * 1_000)));
    this.#readout.replaceChildren(heading, ...rows, ...(isInGap ? ["No data"] : []));
  }
}

/** The index of the time that is nearest to `wanted`, or -1. */
function nearestIndex(time, wanted) {
  let nearest = -1;
  time.forEach((each, index) => {
    if (!(Math.abs(each - wanted) >= Math.abs(time[nearest] - wanted))) nearest = index;
  });
  return nearest;
}

/** Whether there is a gap between this point and the previous one. */
function isAfterGap(time, seconds, index) {
  return index > 0 && time[index] - time[index - 1] > Math.max(SHORTEST_GAP_S, LONGEST_STEP * seconds[index - 1]);
}

/** When the time ends that a point describes. A point of a second is at its end, every other point at its begin. */
const endOf = (time, seconds, index) => time[index] + (seconds[index] === 1 ? 0 : seconds[index]);

/** The gaps between the points: the begin and the end of each. */
function gaps(time, seconds) {
  return time.flatMap((end, index) => (isAfterGap(time, seconds, index) ? [[endOf(time, seconds, index - 1), end]] : []));
}

/** The points of a line, split where a value is missing and at each gap. There, the last interval is drawn to its end. */
function continuous(time, seconds, values) {
  const strokes = [];
  values.forEach((value, index) => {
    const isStart = index === 0 || values[index - 1] === null || isAfterGap(time, seconds, index);
    if (index > 0 && values[index - 1] !== null && (isStart || value === null) && seconds[index - 1] > 1) {
      strokes.at(-1).push([Math.min(endOf(time, seconds, index - 1), time[index]), values[index - 1]]);
    }
    if (value === null) return;
    if (isStart) strokes.push([]);
    strokes.at(-1).push([time[index], value]);
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

function timeAxis(begin, end, { width }) {
  return timeMarks(begin, end, width).flatMap(({ time, label }) => {
    const x = MARGIN.left + (width * (time - begin)) / (end - begin);
    const furthest = MARGIN.left + width + MARGIN.right - (label.length * DIGIT_WIDTH) / 2;
    return [
      element("line", { class: "tick", x1: x, x2: x, y1: HEIGHT - MARGIN.bottom, y2: HEIGHT - MARGIN.bottom + 4 }),
      withText(element("text", { class: "time", x: Math.min(x, furthest), y: HEIGHT - MARGIN.bottom + 17 }), label),
    ];
  });
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
