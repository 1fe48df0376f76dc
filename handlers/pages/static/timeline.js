// The timeline of an order: when it was accepted, its attempts, the waits between them, and what comes next.

import { duration, moment, precise } from "./format.js";
import { readable } from "./readable.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1_000;
const NARROWEST = 3;
const MAX_ATTEMPTS = 50; // the server keeps the newest attempts of an order
const OUTCOMES = {
  completed: "Completed",
  failed: "Failed",
  rejected: "Rejected",
  timed_out: "Timed out",
  interrupted: "Interrupted",
  stopped: "Stopped",
};

/**
 * The points of the timeline, in sequence. `kind` is `begin`, `attempt` or `end`. `waitS` is the time since the previous
 * point; null if it is unknown or negative, because clocks can be set back. `lengthS` is the duration of an attempt.
 */
export function pointsOf(order, attempts, now) {
  const points = [{ kind: "begin", text: "Accepted", at: new Date(order.created_at) }];
  for (const { number, started_at: start, ended_at: end, outcome, error } of attempts) {
    const [at, endAt] = [dateOf(start), dateOf(end)];
    const lengthS = at && secondsBetween(at, endAt ?? now);
    points.push({ kind: "attempt", text: `Attempt ${number.rawJSON}`, at, endAt, lengthS, outcome, error });
  }
  // The last attempt says how a Completed or Failed order ended. Of an order that is being processed, the end is unknown.
  if (order.status !== "Processing" && !(attempts.length && order.processed_at)) {
    const isWaiting = order.status === "Pending";
    const text = isWaiting ? (order.next_attempt_at ? "Next attempt" : "Waits for an attempt") : order.status;
    points.push({ kind: "end", text, at: dateOf(order.processed_at ?? order.next_attempt_at) });
  }
  let before = null;
  for (const point of points) {
    point.waitS = before && point.at && secondsBetween(before, point.at);
    before = point.endAt === undefined ? point.at : point.endAt;
  }
  return points;
}

/** Shows the timeline in `container`, as a list and as a drawing to scale. */
export function showTimeline(container, order, attempts) {
  const now = new Date();
  const points = pointsOf(order, attempts, now);
  const list = container.querySelector("ol");
  while (list.children.length > points.length) list.lastElementChild.remove();
  points.forEach((point, index) => {
    const [item, old] = [itemOf(point, now), list.children[index]];
    // Replacing an equal item would end a selection in it.
    if (!old) list.append(item);
    else if (!old.isEqualNode(item)) old.replaceWith(item);
  });
  container.querySelector(".cut").hidden = attempts.length < MAX_ATTEMPTS;
  draw(container.querySelector(".scale"), points, now);
}

/** An item of the list. The spaces between its parts are for screen readers, and for copied text. */
function itemOf({ kind, text, at, endAt, lengthS, waitS, outcome, error }, now) {
  const item = element("li", kind);
  if (outcome) item.dataset.outcome = outcome;
  if (waitS !== null && waitS >= 0) item.append(element("span", "wait", `after ${precise(waitS)}`), " ");
  const line = element("span", "line");
  line.append(element("b", "", text));
  if (kind === "attempt") line.append(" ", element("span", "outcome", OUTCOMES[outcome] ?? "Running"));
  if (at) {
    const time = element("time", "", moment(at));
    time.dateTime = at.toISOString();
    time.title = time.dateTime;
    line.append(" ", time);
  }
  const part = (words) => line.append(" ", element("span", "", words));
  if (kind === "end" && at > now) part(`in ${duration(Math.ceil(secondsBetween(now, at)))}`);
  if (kind === "attempt" && lengthS !== null) part(endAt ? `took ${precise(lengthS)}` : `for ${duration(Math.floor(lengthS))}`);
  item.append(line);
  if (error) item.append(" ", element("span", "error", readable(error)));
  return item;
}

/** Draws the time up to now to scale: the attempts, and lines for the waits. The list has the same as text. */
function draw(container, points, now) {
  const past = points.filter(({ at }) => at && at <= now).map((point) => {
    return { ...point, endAt: point.endAt ?? (point.kind === "attempt" ? now : point.at) };
  });
  const [first, last] = [Math.min(...past.map(({ at }) => at)), Math.max(...past.map(({ endAt }) => endAt))];
  container.hidden = !(last > first);
  const place = (time) => (WIDTH * (time - first)) / Math.max(last - first, 1);
  const shapes = past.map(({ kind, at, endAt, outcome }) => {
    const width = Math.max(place(endAt) - place(at), NARROWEST);
    return shape({ x: Math.min(place(at), WIDTH - width), width, y: 2, height: 16, class: kind, "data-outcome": outcome ?? "" });
  });
  container.querySelector("svg").replaceChildren(shape({ x: 0, width: WIDTH, y: 9, height: 2, class: "wait" }), ...shapes);
  const ends = container.querySelectorAll("span");
  [first, last].forEach((time, index) => (ends[index].textContent = container.hidden ? "" : moment(new Date(time))));
}

function shape(attributes) {
  const rect = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries(attributes)) rect.setAttribute(name, value);
  return rect;
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

const dateOf = (text) => (text ? new Date(text) : null);
const secondsBetween = (from, to) => (to - from) / 1_000;
