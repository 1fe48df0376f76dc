// Notices: one line at the bottom of the page that reports the result of an action.

import { Problem } from "./api.js";

const notice = document.getElementById("notice");
const text = notice.querySelector("p");
let onUnauthorized = () => {};

/** Sets up the notices. `unauthorized` is called when the server rejects the API key of a request. */
export function setUpNotices({ unauthorized }) {
  onUnauthorized = unauthorized;
  notice.querySelector("button").addEventListener("click", () => {
    document.getElementById("lists").focus();
    showNotice("");
  });
}

/** Shows a notice. An empty text hides it. */
export function showNotice(words, isComplaint = false) {
  // Moves the notice into an open dialog, because nothing outside the dialog can be read or pressed.
  const place = document.querySelector("dialog[open]") ?? document.body;
  if (notice.parentNode !== place) place.append(notice);
  notice.classList.toggle("complaint", isComplaint);
  text.textContent = words;
}

/** Runs an action of the user and shows the Problem if it fails. */
export async function runAction(work) {
  showNotice("");
  try {
    await work();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) onUnauthorized();
    else showNotice(problem.message, true);
  }
}
