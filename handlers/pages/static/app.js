// The page: each second, shows the new events of the server in the tiles, the charts and the lists.

import { Api, canParseExactly } from "./api.js";
import { Charts } from "./charts.js";
import { askForKey } from "./dialogs.js";
import { count, duration, timeOfDay } from "./format.js";
import { setUpNotices } from "./notices.js";
import { Orders } from "./orders.js";
import { Processing } from "./processing.js";
import { showServers } from "./servers.js";
import { Stream } from "./stream.js";

const LOSS_SHOWN_AFTER_MS = 2_000; // behind a load balancer, another server responds sooner
const COUNTS = ["total", "pending", "processing", "completed", "failed", "cancelled"].map((name) => `${name}_orders`);

const byId = (id) => document.getElementById(id);
const api = new Api({ needsKey: document.querySelector("meta[name=orders-keys]").content === "yes" });
const charts = new Charts(byId("charts"), { onStale: () => stream.open() });
const orders = new Orders(api, { onView: showTitle });
const processing = new Processing(api);
const stream = new Stream({ api, path: () => charts.path, onEvent, onLive, onLost, onGone, onUnauthorized });
let failedCount = 0;
let lostAt = null; // when the connection was lost; null while it is live
let lossTimer;

function onEvent(type, data) {
  const content = JSON.parse(data);
  if (type === "history") charts.setHistory(content);
  else if (type === "point") charts.addPoint(content);
  else if (type === "storage") showStorage(content);
  else if (type === "metrics") showMetrics(content);
}

function showMetrics(metrics) {
  for (const name of COUNTS) byId(name).textContent = count(metrics[name]);
  byId("oldest_pending_seconds").textContent = metrics.pending_orders ? duration(metrics.oldest_pending_seconds) : "–";
  byId("uptime").textContent = `up ${duration(Math.floor(metrics.uptime_seconds))}`;
  byId("figures").dataset.failed = metrics.failed_orders > 0 ? "some" : "none";
  failedCount = metrics.failed_orders;
  showTitle();
  showStorage(metrics.storage);
  showServers(metrics.servers);
  processing.show(metrics.paused);
  processing.showDeliveries(metrics.deliveries_paused);
  orders.setCounts(COUNTS.map((name) => metrics[name]).join(), metrics.failed_orders);
}

function showTitle() {
  const state = document.body.dataset.link === "gone" ? "Not connected" : failedCount && `${count(failedCount)} failed`;
  document.title = [state, orders.title, "Orders"].filter(Boolean).join(" · ");
}

function showStorage({ is_writable: isWritable, is_readable: isReadable }) {
  const failures = [];
  if (!isWritable) failures.push("Orders can't be stored: writes fail. New ones are refused until writes work again.");
  if (!isReadable) failures.push("Orders can't be read: reads fail.");
  if (failures.length) failures.push("See the log of the server.");
  alarm("storage-alarm", failures.join(" "));
}

function onLive(headers) {
  clearTimeout(lossTimer);
  lostAt = null;
  document.body.dataset.scope = headers.get("Orders-Key-Scope");
  processing.setScope(headers.get("Orders-Key-Scope"));
  showLink("live", "Live");
  alarm("alarm", "");
  orders.invalidate();
}

function onLost(problem) {
  lostAt = new Date();
  showLink("connecting", "Reconnecting");
  lossTimer = setTimeout(() => onGone(problem), LOSS_SHOWN_AFTER_MS);
}

function onGone(problem) {
  clearTimeout(lossTimer);
  if (document.body.dataset.link !== "gone") {
    const since = timeOfDay(lostAt ?? new Date());
    alarm("alarm", `No connection to the server since ${since}: what is shown is from before. Trying again.`);
  }
  showLink("gone", problem.status ? problem.message : "Not connected");
  showTitle();
}

async function onUnauthorized(problem) {
  clearTimeout(lossTimer);
  showLink("gone", "No key");
  const complaint = api.key ? problem.message : "";
  api.needsKey = true;
  api.key = null;
  showKeyControls();
  api.key = await askForKey(complaint);
  showKeyControls();
  stream.open();
}

function showKeyControls() {
  byId("docs").hidden = api.needsKey; // a link can't send a key
  byId("forget").hidden = !api.key;
}

function showLink(state, text) {
  document.body.dataset.link = state;
  if (byId("link").textContent !== text) byId("link").textContent = text;
}

function alarm(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

setUpNotices({ unauthorized: () => stream.open() }); // the stream then asks for another key
byId("forget").addEventListener("click", () => {
  api.key = null;
  location.reload();
});
showLink("connecting", "Connecting");
showKeyControls();
if (!canParseExactly) {
  alarm("alarm", "This browser is too old for this page: it can't read ids of 64 bits exactly.");
} else if (api.needsKey && !api.key) {
  onUnauthorized();
} else {
  stream.open();
}
