// The servers that share the database. Hidden if no other server can use it.

import { count, duration, moment } from "./format.js";

const section = document.getElementById("servers");
const rows = section.querySelector("tbody");
const template = document.getElementById("server-template");

/** Shows the servers. Must be called once a second. `servers` is undefined if no other server can use the database. */
export function showServers(servers = []) {
  section.hidden = !servers.length;
  while (rows.children.length > servers.length) rows.lastElementChild.remove();
  while (rows.children.length < servers.length) rows.append(template.content.cloneNode(true));
  servers.forEach((server, index) => showServer(rows.children[index], server));
}

function showServer(row, server) {
  const set = (selector, text) => {
    const element = row.querySelector(selector);
    // Replacing an equal text would end a selection in it.
    if (element.textContent !== text) element.textContent = text;
  };
  row.dataset.alive = server.is_alive ? "yes" : "no";
  set(".id", server.is_this ? `${server.name} (this server)` : server.name);
  set(".status span", server.is_alive ? "Alive" : "Not responding");
  set(".processing", count(server.processing_orders));
  set(".seen", server.lease_age_seconds < 2 ? "now" : `${duration(Math.floor(server.lease_age_seconds))} ago`);
  const since = new Date(server.started_at);
  set("time", moment(since));
  row.querySelector("time").dateTime = server.started_at;
}
