// The stretches to look at: the queue, or those of an estimate.

import { getJson, post } from "./api.js";
import { make } from "./help.js";
import { NONE } from "./lanes.js";
import { clockText } from "./timeline.js";

const WAIT_MS = 1000;
const MARGIN_SECONDS = 1;

// Open the recording of a stretch, go to its start, mark it and loop over it.
async function visit(review, stretch) {
  const { recording, start, stop } = stretch;
  const isOpen = review.name === recording && review.state;
  if (!isOpen && !(await review.open(recording, start))) return false;
  review.timeline.stretch = [start, stop];
  review.player.loop = [start, stop];
  review.scorer.select(null);
  review.go(start);
  const room = Math.round(MARGIN_SECONDS * review.player.fps);
  review.timeline.setView(start - room, stop + room);
  review.controls.update();
  return true;
}

export class Queue {
  constructor(review, panel) {
    this.review = review;
    this.panel = panel;
    this.list = [];
    this.at = -1;
    panel.hidden = false;
    panel.replaceChildren(make("h2", {}, "Look at first"), make("p", {}, "Reading the predictions ..."));
  }

  async load() {
    let found;
    try {
      found = await getJson("queue");
    } catch (error) {
      found = { is_ready: true, problem: error.message, stretches: [] };
    }
    if (!found.is_ready) {
      setTimeout(() => this.load(), WAIT_MS);
      return;
    }
    this.list = found.stretches;
    this.problem = found.problem;
    this.at = -1;
    this.#fill();
  }

  #fill() {
    const { fps } = this.review.player;
    const items = this.list.map((stretch, k) => make("li", { "aria-current": String(k === this.at) },
      make("button", { type: "button", class: stretch.isDone ? "done" : "", onclick: () => this.review.inTurn(() => this.#visit(k)) },
        `${stretch.recording} ${clockText(stretch.start / fps, 1)} `, make("small", {}, stretch.reason))));
    const key = (name) => make("kbd", {}, name);
    const text = this.problem
      ? [this.problem]
      : this.list.length
        ? [key("."), " next ", key(","), " before ", key("Shift+A"), " accept"]
        : ["Nothing is left."];
    const again = make("button", { type: "button", id: "sort-queue", onclick: () => this.load() }, "Sort again");
    this.panel.replaceChildren(make("h2", {}, `Look at first (${this.list.length})`, again),
      make("p", {}, ...text), make("ol", {}, ...items));
    // only the list scrolls, not the panel around it
    const current = this.panel.querySelector("li[aria-current='true']");
    if (current) current.parentElement.scrollTop = current.offsetTop - current.parentElement.offsetTop - 30;
  }

  async #visit(k) {
    this.at = k;
    this.#fill();
    if (await visit(this.review, this.list[k])) this.panel.dataset.place = k;
  }

  // Why to look at the stretch that is marked.
  get reason() {
    return this.#marked?.reason ?? "";
  }

  get #marked() {
    const stretch = this.list[this.at];
    return this.review.timeline.stretch && stretch?.recording === this.review.name ? stretch : null;
  }

  next(direction) {
    const k = this.at + direction;
    if (k >= 0 && k < this.list.length) this.#visit(k);
    else this.review.say(direction > 0 ? "This was the last stretch." : "This is the first stretch.", true);
  }

  accept() {
    const stretch = this.#marked;
    if (!stretch || !this.review.scorer.acceptSpan(stretch.start, stretch.stop)) return;
    stretch.isDone = true;
    this.next(1);
  }
}

export class Checks {
  constructor(review, panel) {
    this.review = review;
    this.panel = panel;
    this.state = null;
    this.allowed = null;
    panel.hidden = false;
  }

  async start() {
    await this.#take(await getJson("check"));
  }

  async #take(state) {
    this.state = state;
    this.allowed = null;
    this.#fill();
    this.panel.dataset.place = "";
    if (state.stretch) {
      if (await visit(this.review, state.stretch)) this.panel.dataset.place = state.place;
    } else if (!this.review.state) await this.review.open(this.review.study.recordings[0].name);
  }

  async next(direction) {
    const { review, state } = this;
    if (this.isBusy || !state) return;
    this.isBusy = true;
    review.scorer.stop();
    try {
      await review.sender.settle();
      if (direction < 0) await this.#take(await getJson("check", { place: Math.max(0, state.place - 1) }));
      else if (state.stretch) await this.#record();
    } catch (error) {
      review.say(error.message);
    } finally {
      this.isBusy = false;
    }
  }

  async #record() {
    const { review, state } = this;
    const reply = await post("check", {}, { place: state.place, allows_gaps: this.allowed === state.place });
    if (!reply.num_gaps) {
      await this.#take(reply);
      return;
    }
    this.allowed = state.place;
    const { start, stop } = state.stretch;
    review.go(start + review.own.subarray(start, stop).indexOf(NONE));
    review.say(`${reply.num_gaps} frames have no class. Score them, or press . again to leave them out.`);
  }

  #cell(number) {
    if (number.estimate === null) return make("td", { colspan: 1, title: number.note }, "-");
    const [low, high] = number.interval;
    const text = `${number.estimate.toFixed(2)}`;
    return make("td", {}, text, make("br"), make("small", {}, `${low.toFixed(2)}-${high.toFixed(2)}`));
  }

  #fill() {
    const { state } = this;
    const { result } = state;
    const rows = this.review.study.classes.map(({ name }) => make("tr", {}, make("th", { scope: "row" }, name),
      ...["precision", "recall", "f1"].map((key) => this.#cell(result.classes[name][key]))));
    const head = make("tr", {}, ...["class", "prec.", "recall", "F1"].map((text) => make("th", { scope: "col" }, text)));
    const more = result.more_to_halve ? ` About ${result.more_to_halve} more halve the intervals.` : "";
    const notes = new Set(Object.values(result.classes).map((numbers) => numbers.f1.note));
    const note = [...notes].find((text) => text.startsWith("fewer")) ?? "";
    this.panel.replaceChildren(
      make("h2", {}, state.stretch ? `Stretch ${state.place + 1}` : "All stretches are checked"),
      make("p", { id: "checked" }, `${state.num_checked} of ${state.num_stretches} checked.${more} ${note}`),
      make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)),
    );
  }
}
