// The row of buttons below the picture.

import { make } from "./help.js";
import { SPEEDS } from "./player.js";

export class Controls {
  constructor(review) {
    this.review = review;
    const button = (text, title, command, value, more = {}) => make("button",
      { type: "button", title, onclick: () => review.run(command, value), ...more }, text);
    this.play = button("▶ Play", "Space", "toggle", 1, { id: "play" });
    this.loop = button("Loop", "l", "loop", undefined, { "aria-pressed": "false" });
    this.speed = make("select", { id: "speed", onchange: (event) => {
      review.player.setSpeed(Number(event.target.value));
      event.target.blur();
    } }, ...SPEEDS.map((speed) => make("option", { value: speed }, `${speed} ×`)));
    const slider = (name) => make("input", { type: "range", min: 0.2, max: 4, step: 0.1, value: 1,
      oninput: (event) => review.picture.adjust(name, Number(event.target.value)) });
    this.brightness = slider("brightness");
    this.contrast = slider("contrast");
    const gap = () => make("span", { class: "gap" });
    document.getElementById("controls").replaceChildren(
      button("−1 s", "PageUp", "jump", -1, { "aria-label": "One second back" }),
      button("◀ Frame", "←", "step", -1, { "aria-label": "One frame back" }),
      this.play,
      button("Frame ▶", "→", "step", 1, { "aria-label": "One frame on" }),
      button("+1 s", "PageDown", "jump", 1, { "aria-label": "One second on" }),
      make("label", {}, "Speed", this.speed),
      this.loop,
      gap(),
      button("+", "z", "enlarge", 1.5, { "aria-label": "Zoom into the picture" }),
      button("−", "Shift+Z", "enlarge", 1 / 1.5, { "aria-label": "Zoom out of the picture" }),
      make("label", {}, "Brightness", this.brightness),
      make("label", {}, "Contrast", this.contrast),
      button("Reset", "x", "plain", undefined, { "aria-label": "Picture as it was" }),
      gap(),
      button("Regions", "r", "regions"),
      button("▢", "Shift+R", "square", undefined, { "aria-label": "Square that follows the animal" }),
    );
    this.update();
  }

  update() {
    const { player } = this.review;
    this.play.textContent = player.direction ? "❚❚ Pause" : "▶ Play";
    this.loop.setAttribute("aria-pressed", String(Boolean(player.loop)));
    this.speed.value = String(player.speed);
  }

  faster(direction) {
    const { player } = this.review;
    const at = SPEEDS.indexOf(player.speed) + direction;
    if (SPEEDS[at]) player.setSpeed(SPEEDS[at]);
  }

  adjust(name, value) {
    this.review.picture.adjust(name, value);
    this[name].value = String(this.review.picture[name]);
  }

  plain() {
    this.review.picture.plain();
    this.brightness.value = this.contrast.value = "1";
  }
}
