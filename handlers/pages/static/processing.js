// The pauses of processing and of webhooks: a banner during each, and the buttons that begin and end them.

import { confirmAction } from "./dialogs.js";
import { runAction, showNotice } from "./notices.js";

const byId = (id) => document.getElementById(id);
const PAUSE = {
  title: "Pause processing?",
  text: "Orders will still be accepted, but not processed until you resume. Running attempts end normally.",
  yes: "Pause processing",
};

// A receiver with a rate limit causes many short pauses, for which the page must not move up and down.
const MIN_DELIVERY_PAUSE_S = 5;

/** Shows what is paused. The buttons are shown only if the API key has the scope `admin`. */
export class Processing {
  #api;
  #isAdmin = false;
  #isPaused = false;
  #deliveryPauseS = 0;
  #isSending = false;

  constructor(api) {
    this.#api = api;
    byId("pause-processing").addEventListener("click", () => this.#pause());
    byId("resume-processing").addEventListener("click", () => this.#send("resume", "Processing is resumed."));
    byId("resume-deliveries").addEventListener("click", () => this.#send("resume", "The next webhook is sent now."));
  }

  /** Sets the scope of the API key. */
  setScope(scope) {
    this.#isAdmin = scope === "admin";
    this.show(this.#isPaused);
  }

  /** Shows whether processing is paused. Keeps the focus on the button that is shown instead of the focused one. */
  show(isPaused) {
    this.#isPaused = isPaused;
    const [pause, resume] = [byId("pause-processing"), byId("resume-processing")];
    const hadFocus = [pause, resume].includes(document.activeElement);
    byId("paused").hidden = !isPaused;
    pause.hidden = isPaused || !this.#isAdmin;
    resume.hidden = !isPaused || !this.#isAdmin;
    if (hadFocus) (isPaused ? resume : pause).focus();
  }

  /** Shows whether webhooks are paused. To be called once a second. */
  showDeliveries(arePaused) {
    this.#deliveryPauseS = arePaused ? this.#deliveryPauseS + 1 : 0;
    // While processing is paused, the button would also resume processing.
    byId("deliveries-paused").hidden = this.#isPaused || this.#deliveryPauseS < MIN_DELIVERY_PAUSE_S;
    byId("resume-deliveries").hidden = !this.#isAdmin;
  }

  async #pause() {
    if (await confirmAction(PAUSE)) await this.#send("pause", "Processing is paused.");
  }

  async #send(command, notice) {
    if (this.#isSending) return;
    this.#isSending = true;
    await runAction(async () => {
      const { paused } = await this.#api.post(`processing/${command}`);
      this.show(paused);
      showNotice(notice);
    });
    this.#isSending = false;
  }
}
