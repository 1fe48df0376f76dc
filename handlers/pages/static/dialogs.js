// The dialogs: one asks for the API key, one asks to confirm an action, and one shows which orders were refused.

import { count } from "./format.js";
import { orderUrl } from "./routes.js";

const byId = (id) => document.getElementById(id);
const HEADER_SAFE = /^[\x21-\x7e]+$/;

/** Asks for an API key until the user enters one. `complaint` says what was wrong with the last key. */
export function askForKey(complaint = "") {
  const dialog = byId("key-dialog");
  const [form, input] = [dialog.querySelector("form"), byId("key")];
  const complain = (text) => (dialog.querySelector(".complaint").textContent = text);
  complain(complaint);
  input.value = "";
  return new Promise((resolve) => {
    let key = null;
    // Without a key there is nothing to show. A browser closes a dialog if Escape is pressed twice: open it again.
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => key ?? dialog.showModal();
    form.onsubmit = (event) => {
      event.preventDefault();
      const given = input.value.trim();
      if (!HEADER_SAFE.test(given)) return complain("This can't be a key: it has characters that no key has.");
      key = given;
      input.value = "";
      dialog.close();
      resolve(key);
    };
    if (!dialog.open) dialog.showModal();
    input.focus();
  });
}

/** Asks the user to confirm an action. `yes` is the text of the button to confirm. Resolves to true or false. */
export function confirmAction({ title, text, yes }) {
  const dialog = byId("question");
  byId("question-title").textContent = title;
  byId("question-text").textContent = text;
  dialog.querySelector("[value=yes]").textContent = yes;
  dialog.returnValue = "no";
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.showModal();
  });
}

/**
 * Shows the result of an action on many orders, if it did not succeed for all of them. `summary` says for how many it did.
 * `refused` is a list of `{ order, problem }`. `stopped` is the Problem before which `unsent` orders were not sent, or null.
 */
export function showOutcome({ summary, refused, stopped, unsent }) {
  const dialog = byId("outcome");
  const [done, cut] = dialog.querySelectorAll("p");
  done.textContent = summary;
  cut.textContent = stopped ? `${stopped.message} The action stopped. Orders without a result: ${count(unsent)}.` : "";
  byId("refused-title").textContent = `Refused: ${count(refused.length)}`;
  byId("refused-title").hidden = refused.length === 0;
  dialog.querySelector("ul").replaceChildren(...refused.map(({ order, problem }) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.textContent = order.order_id.rawJSON;
    link.href = orderUrl(link.textContent);
    link.addEventListener("click", () => dialog.close());
    item.append(link, ` ${problem.detail}`);
    return item;
  }));
  dialog.querySelector("button").onclick = () => dialog.close();
  dialog.showModal();
}
