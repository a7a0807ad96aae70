// The panel beside the picture: what the next key does, the classes, and what is at this frame.

import { getBytes } from "./api.js";
import { make, swatch } from "./help.js";
import { labelOfClass, PREFIX } from "./keys.js";
import { NONE } from "./lanes.js";

export class Side {
  constructor(review) {
    this.review = review;
    this.hint = document.getElementById("hint");
    this.here = document.getElementById("here");
    const group = document.getElementById("classes");
    const buttons = review.study.classes.map((item, k) => make("button",
      { type: "button", "data-class": item.name, onclick: () => review.run("label", k) },
      make("kbd", {}, labelOfClass(k, review.layout)), swatch(item.color), make("span", { class: "name" }, item.name)));
    const none = make("button", { type: "button", onclick: () => review.run("clear") },
      make("kbd", {}, "Del"), swatch(null), make("span", { class: "name" }, "no class"));
    this.buttons = buttons;
    group.replaceChildren(...buttons, none);
    this.accepting = document.getElementById("accepting");
    this.accepting.replaceChildren(make("button",
      { type: "button", id: "accept", onclick: () => review.run("accept") },
      make("kbd", {}, "a"), " Accept the prediction"));
  }

  opened() {
    this.accepting.hidden = !this.review.predicted;
    this.probabilities = new Map();
    this.update();
  }

  update() {
    const { review } = this;
    if (!review.state || !review.own) return;
    const { scorer } = review;
    const { frame } = review.player;
    const active = scorer.brush?.k ?? -1;
    this.buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === active)));
    this.hint.classList.toggle("active", active >= 0);
    this.hint.textContent = this.#advice(active);
    const rows = [[review.study.annotator, this.#label(review.own[frame])]];
    for (const lane of review.timeline.lanes) {
      if (lane.kind === "predicted") rows.unshift([lane.label, this.#label(lane.codes[frame])]);
      if (lane.kind === "other") rows.push([lane.label, this.#label(lane.codes[frame])]);
    }
    const curve = review.timeline.curve;
    if (curve) rows.splice(1, 0, [`p(${curve.name})`, (curve.values[frame] / 255).toFixed(2)]);
    if (scorer.selection) {
      const [start, stop] = scorer.selection;
      const seconds = review.player.seconds(stop - 1) - review.player.seconds(start) + 1 / review.player.fps;
      rows.push(["range", `${start}-${stop - 1}, ${stop - start} frames, ${seconds.toFixed(2)} s`]);
    }
    this.here.replaceChildren(...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  }

  #label(code) {
    return code === NONE ? "-" : this.review.nameOf(code);
  }

  #advice(active) {
    const { review } = this;
    if (review.prefix) {
      const pressed = [...review.prefix].join(" ");
      return `${pressed}: press the second key of a class (${PREFIX} for those further down). Esc drops it.`;
    }
    if (active >= 0) {
      const { name } = review.study.classes[active];
      return `Labelling ${name} from frame ${review.scorer.brush.start}. Go forward; Esc stops.`;
    }
    if (review.scorer.selection) return "Press a class key to label this range. Esc drops it.";
    if (review.study.is_estimate) return "Score every frame of the marked stretch, then press . for the next one.";
    const reason = review.queue?.reason;
    if (reason) return `${reason}. Shift+A accepts the marked stretch.`;
    if (review.predicted) return "a accepts the predicted bout. Class keys label. Drag edges to move them.";
    return "Press a class key, then play (Space) or step (→): it labels each frame you pass.";
  }

  async showCurve(k) {
    const { review, probabilities } = this;
    const { name, color } = review.study.classes[k];
    if (!probabilities.has(k)) {
      const values = { name: review.name, class: k };
      probabilities.set(k, new Uint8Array((await getBytes("probability", values)).bytes));
    }
    const values = probabilities.get(k);
    // another recording, another prediction or another class may be shown by now
    if (probabilities !== this.probabilities || k !== review.scorer.curveClass) return;
    if (values.length !== review.state?.num_frames) return;
    review.timeline.curve = { values, color, name };
    const lane = review.timeline.lanes.find((item) => item.kind === "curve");
    if (lane) lane.label = `p(${name})`;
    review.timeline.draw();
    this.update();
  }
}
