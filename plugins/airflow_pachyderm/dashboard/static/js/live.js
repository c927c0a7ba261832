// Loading and loading again: only while the page is visible, and by itself after an error.

const FIRST_RETRY_MS = 1500;
const LAST_RETRY_MS = 10000;

/**
 * Load now and again.
 *
 * load(signal)   returns the data
 * show(data)     is called when the data differs from what was shown last
 * fail(problem)  is called when a load fails; the next one follows by itself unless only the reader can help
 * done()         is called after each load that worked
 * every(data)    milliseconds to the next load, or null for none
 */
export class Live {
  constructor({ load, show, fail, done = () => {}, every = () => null }) {
    Object.assign(this, { load, show, fail, done, every });
    this.shown = undefined;
    this.retryMs = FIRST_RETRY_MS;
    this.onVisible = () => {
      if (document.hidden) this.#rest();
      else this.refresh();
    };
    document.addEventListener("visibilitychange", this.onVisible);
    this.refresh();
  }

  async refresh() {
    this.#rest();
    const controller = new AbortController();
    this.controller = controller;
    let pause = null;
    try {
      const data = await this.load(controller.signal);
      if (controller.signal.aborted) return;
      this.retryMs = FIRST_RETRY_MS;
      this.done();
      const text = JSON.stringify(data);
      if (text !== this.shown) {
        this.shown = text;
        this.show(data);
      }
      pause = this.every(data);
    } catch (problem) {
      if (controller.signal.aborted) return;
      if (problem.title === undefined) console.error(problem);
      this.fail(problem);
      if (problem.retry) {
        pause = this.retryMs;
        this.retryMs = Math.min(this.retryMs * 1.6, LAST_RETRY_MS);
      }
    }
    if (pause !== null && !document.hidden) this.timer = setTimeout(() => this.refresh(), pause);
  }

  stop() {
    this.#rest();
    document.removeEventListener("visibilitychange", this.onVisible);
  }

  #rest() {
    clearTimeout(this.timer);
    this.controller?.abort();
  }
}
