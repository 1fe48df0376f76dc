// One line at the foot of the page: what has come of what the reader asked for.

import { Problem } from "./api.js";

const notice = document.getElementById("notice");
const text = notice.querySelector("p");
let onUnauthorized = () => {};

/** Sets up the notices; `unauthorized` is called where a request's key is not taken. */
export function setUpNotices({ unauthorized }) {
  onUnauthorized = unauthorized;
  notice.querySelector("button").addEventListener("click", () => {
    document.getElementById("lists").focus();
    say("");
  });
}

/** Shows a notice; an empty one is none. */
export function say(words, isComplaint = false) {
  // Within a dialog, of which nothing outside can be read or pressed.
  const place = document.querySelector("dialog[open]") ?? document.body;
  if (notice.parentNode !== place) place.append(notice);
  notice.classList.toggle("complaint", isComplaint);
  text.textContent = words;
}

/** Does something on behalf of the reader, who is told where the server refuses it. */
export async function tell(work) {
  say("");
  try {
    await work();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) onUnauthorized();
    else say(problem.message, true);
  }
}
