// The page: what the server tells each second goes to the tiles and charts, and has the lists brought up to date.

import { Api, canParseExactly, Problem } from "./api.js";
import { Charts } from "./charts.js";
import { ask, askForKey, OrderDialog } from "./dialogs.js";
import { count, duration, timeOfDay } from "./format.js";
import { OrderList } from "./list.js";
import { Stream } from "./stream.js";

const COUNTS = ["total", "pending", "processing", "completed", "failed", "cancelled"].map((name) => `${name}_orders`);
const REFRESH_MS = 5_000; // where the counts are the same, an order may yet be another
const HIGHEST_ID = 2n ** 63n - 1n;

const byId = (id) => document.getElementById(id);
const api = new Api({ needsKey: document.querySelector("meta[name=orders-keys]").content === "yes" });
const charts = new Charts(byId("charts"));
const dialog = new OrderDialog({ onAct: act });

// The lists.

const failed = listOf("Failed", "No order has failed.", "status=Failed");
const latest = listOf("Latest", "There is no order yet. POST /order takes the first one.", "");
let found = null;
let isPaused = false;
let isRefreshing = false;
let shown = "";
let wanted = "";
let restUntil = 0;
let refreshedAt = 0;

function listOf(title, empty, query, load = (limit) => page(query, limit)) {
  return new OrderList({ title, empty, load, onAct: act, onOpen: open, onMore: (list) => tell(() => list.refresh()) });
}

async function page(query, limit) {
  const { orders, next_cursor: more } = await api.get(`orders?limit=${limit}${query && `&${query}`}`);
  return { orders, hasMore: more !== null };
}

/** Brings the lists up to date, where something may have changed; one request after another, however often it is called. */
async function refresh() {
  const isDue = wanted !== shown || Date.now() - refreshedAt > REFRESH_MS;
  if (!isDue || isRefreshing || isPaused || document.hidden || Date.now() < restUntil) return;
  isRefreshing = true;
  const target = wanted;
  try {
    for (const list of [failed, latest, found]) await list?.refresh();
    if (dialog.id) dialog.update(await api.get(`order/${dialog.id}`));
    shown = target;
    refreshedAt = Date.now();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    restUntil = Date.now() + (problem.retryAfterS || 1) * 1_000;
  } finally {
    isRefreshing = false;
  }
}

function update(order) {
  for (const each of [failed, latest, found, dialog]) each?.update(order);
}

/** Has something done to an order, and shows what became of it. */
async function act(order, action) {
  const id = order.order_id.rawJSON;
  const question = { title: `Cancel order ${id}?`, text: "It will not be processed. This can't be undone.", yes: "Cancel the order" };
  if (action === "cancel" && !(await ask(question))) return;
  await tell(async () => {
    try {
      update(await api.post(`order/${id}/${action}`));
    } catch (problem) {
      if (problem.status === 409) update(await api.get(`order/${id}`));
      throw problem;
    }
    say(action === "cancel" ? `Order ${id} is cancelled.` : `Order ${id} will be tried again.`);
  });
}

async function open(order) {
  dialog.open(order);
  await tell(async () => dialog.update(await api.get(`order/${order.order_id.rawJSON}`)));
}

async function retryAll() {
  const number = byId("failed_orders").textContent;
  const text = `${number} failed orders will be tried again, each with its attempts counted from 0.`;
  if (!(await ask({ title: "Retry all failed orders?", text, yes: "Retry all" }))) return;
  await tell(async () => {
    const { retried } = await api.post("orders/retry?status=Failed");
    say(`${count(retried.rawJSON)} orders will be tried again.`);
  });
}

async function find(event) {
  event.preventDefault();
  const digits = byId("find-number").value.replace(/[\s,.'’_]/g, "");
  if (!/^\d{1,19}$/.test(digits) || BigInt(digits) < 1n || BigInt(digits) > HIGHEST_ID) {
    return say("An id is a whole number from 1 to 9223372036854775807.", true);
  }
  const id = String(BigInt(digits));
  const isOrder = byId("find-what").value === "order";
  const list = isOrder
    ? listOf(`Order ${id}`, `There is no order ${id}.`, "", () => one(id))
    : listOf(`Orders of user ${id}`, `There is no order of user ${id}.`, `user_id=${id}`);
  await tell(async () => {
    await list.refresh();
    list.addButton(button("Close", closeFound));
    found?.element.remove();
    found = list;
    byId("find").after(list.element);
    list.focus();
  });
}

async function one(id) {
  try {
    return { orders: [await api.get(`order/${id}`)] };
  } catch (problem) {
    if (problem.status === 404) return { orders: [] };
    throw problem;
  }
}

function closeFound() {
  found.element.remove();
  found = null;
  byId("find-number").focus();
}

// What the server tells.

function onEvent(type, data) {
  const told = JSON.parse(data);
  if (type === "history") charts.setHistory(told);
  else if (type === "point") charts.addPoint(told);
  else if (type === "metrics") showMetrics(told);
}

function showMetrics(metrics) {
  for (const name of COUNTS) byId(name).textContent = count(metrics[name]);
  byId("oldest_pending_seconds").textContent = metrics.pending_orders ? duration(metrics.oldest_pending_seconds) : "–";
  byId("uptime").textContent = `up ${duration(Math.floor(metrics.uptime_seconds))}`;
  byId("figures").dataset.failed = metrics.failed_orders > 0 ? "some" : "none";
  retryAllButton.hidden = metrics.failed_orders === 0;
  document.title = metrics.failed_orders ? `${count(metrics.failed_orders)} failed · Orders` : "Orders";
  wanted = COUNTS.map((name) => metrics[name]).join();
  refresh();
}

function onLive() {
  showLink("live", "Live");
  byId("alarm").hidden = true;
  shown = "";
}

function onGone(problem) {
  if (byId("link").dataset.state !== "gone") {
    byId("alarm").textContent = `No connection to the server since ${timeOfDay(new Date())}: what is shown is from before. Trying again.`;
    byId("alarm").hidden = false;
  }
  showLink("gone", problem.status ? problem.message : "Not connected");
  document.title = "Not connected · Orders";
}

async function onUnauthorized(problem) {
  showLink("gone", "No key");
  byId("forget").hidden = true;
  const complaint = api.key ? problem.message : "";
  api.key = null;
  api.key = await askForKey(complaint);
  byId("forget").hidden = false;
  stream.open();
}

function showLink(state, text) {
  const link = byId("link");
  link.dataset.state = state;
  document.body.dataset.link = state;
  if (link.textContent !== text) link.textContent = text;
}

// Notices.

function say(text, isComplaint = false) {
  const notice = byId("notice");
  notice.hidden = false;
  notice.classList.toggle("complaint", isComplaint);
  notice.querySelector("p").textContent = text;
}

/** Does something on behalf of the reader, who is told where the server refuses it. */
async function tell(work) {
  byId("notice").hidden = true;
  shown = "";
  try {
    await work();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) stream.open(); // which asks for another key
    else say(problem.message, true);
  }
}

function button(text, onClick) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", onClick);
  return element;
}

function pause() {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  byId("pause").textContent = isPaused ? "Go on" : "Pause the lists";
  refresh();
}

// The beginning.

const stream = new Stream({ api, path: "metrics/events", onEvent, onLive, onGone, onUnauthorized });
const retryAllButton = button("Retry all", retryAll);
retryAllButton.hidden = true;
failed.addButton(retryAllButton);
byId("lists").append(failed.element, latest.element);
byId("find").addEventListener("submit", find);
byId("pause").addEventListener("click", pause);
byId("notice").querySelector("button").addEventListener("click", () => (byId("notice").hidden = true));
byId("docs").hidden = api.needsKey; // a link can't send a key
byId("forget").hidden = !api.needsKey || !api.key;
byId("forget").addEventListener("click", () => {
  api.key = null;
  location.reload();
});
document.addEventListener("visibilitychange", refresh);
showLink("connecting", "Connecting");
if (!canParseExactly) {
  byId("alarm").textContent = "This browser is too old for this page: it can't read ids of 64 bits exactly.";
  byId("alarm").hidden = false;
} else if (api.needsKey && !api.key) {
  onUnauthorized(new Problem({ status: 401, title: "" }));
} else {
  stream.open();
}
