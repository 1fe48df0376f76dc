// The pause of processing: a banner while processing is paused, and the buttons that pause and resume it.

import { confirmAction } from "./dialogs.js";
import { runAction, showNotice } from "./notices.js";

const byId = (id) => document.getElementById(id);
const PAUSE = {
  title: "Pause processing?",
  text: "Orders will still be accepted, but not processed until you resume. Running attempts end normally.",
  yes: "Pause processing",
};

/** Shows whether processing is paused. The buttons are shown only if the API key has the scope `admin`. */
export class Processing {
  #api;
  #isAdmin = false;
  #isPaused = false;
  #isSending = false;

  constructor(api) {
    this.#api = api;
    byId("pause-processing").addEventListener("click", () => this.#pause());
    byId("resume-processing").addEventListener("click", () => this.#send(false));
  }

  /** Sets the scope of the API key. */
  setScope(scope) {
    this.#isAdmin = scope === "admin";
    this.show(this.#isPaused);
  }

  /** Shows the state. Keeps the focus on the button that is shown instead of the focused one. */
  show(isPaused) {
    this.#isPaused = isPaused;
    const [pause, resume] = [byId("pause-processing"), byId("resume-processing")];
    const hadFocus = [pause, resume].includes(document.activeElement);
    byId("paused").hidden = !isPaused;
    pause.hidden = isPaused || !this.#isAdmin;
    resume.hidden = !isPaused || !this.#isAdmin;
    if (hadFocus) (isPaused ? resume : pause).focus();
  }

  async #pause() {
    if (await confirmAction(PAUSE)) await this.#send(true);
  }

  async #send(isPaused) {
    if (this.#isSending) return;
    this.#isSending = true;
    await runAction(async () => {
      const { paused } = await this.#api.post(`processing/${isPaused ? "pause" : "resume"}`);
      this.show(paused);
      showNotice(paused ? "Processing is paused." : "Processing is resumed.");
    });
    this.#isSending = false;
  }
}
