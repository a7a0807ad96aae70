// Regions: where each animal lives. They are shown, drawn and saved here.

import { post } from "./api.js";
import { make } from "./help.js";

const LEAST = 16; // px, as in mpar/video/streams.py
const SPACE = "http://www.w3.org/2000/svg";

export class Regions {
  // `onSaved(recordings)`, `onMessage(text)`
  constructor(panel, overlay, stage, handlers) {
    this.panel = panel;
    this.overlay = overlay;
    this.handlers = handlers;
    this.isOpen = false;
    this.list = [];
    this.current = 0;
    this.drag = null;
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    stage.addEventListener("pointerup", () => (this.drag = null));
  }

  open(state) {
    this.name = state.name;
    this.own = state.region;
    this.size = [state.width, state.height];
    this.list = state.regions.map((region) => ({ ...region }));
    this.current = 0;
    this.overlay.setAttribute("viewBox", `0 0 ${state.width} ${state.height}`);
    this.draw();
    if (this.isOpen) this.#fill();
  }

  toggle() {
    this.isOpen = !this.isOpen;
    this.panel.hidden = !this.isOpen;
    if (this.isOpen) this.#fill();
    this.draw();
  }

  draw() {
    const parts = [];
    for (const [k, region] of this.list.entries()) {
      const rect = document.createElementNS(SPACE, "rect");
      for (const name of ["x", "y", "width", "height"]) rect.setAttribute(name, region[name]);
      const isOwn = this.isOpen
        ? k === this.current
        : this.own && ["animal", "x", "y"].every((name) => this.own[name] === region[name]);
      if (isOwn) rect.classList.add("own");
      const text = document.createElementNS(SPACE, "text");
      const size = Math.max(10, this.size[1] / 28);
      text.setAttribute("x", region.x + size / 3);
      text.setAttribute("y", region.y + size * 1.2);
      text.setAttribute("font-size", size);
      text.textContent = region.animal;
      parts.push(rect, text);
    }
    this.overlay.replaceChildren(...parts);
  }

  #fill() {
    const rows = this.list.map((region, k) => this.#row(region, k));
    this.panel.replaceChildren(
      make("h2", {}, "Regions of this video"),
      make("p", {}, "Drag on the picture, or type px from its upper left corner."),
      ...rows,
      make("button", { type: "button", onclick: () => this.#add() }, "Add a region"), " ",
      make("button", { type: "button", id: "save-regions", onclick: () => this.#save() }, "Save regions.csv"), " ",
      make("button", { type: "button", onclick: () => this.toggle() }, "Close"),
    );
  }

  #row(region, k) {
    const number = (name) => make("label", {}, `${name} `, make("input", {
      type: "number", min: name === "width" || name === "height" ? LEAST : 0, value: region[name],
      "aria-label": `${name} of region ${k + 1} in px`,
      oninput: (event) => {
        region[name] = Math.max(0, Math.round(Number(event.target.value) || 0));
        this.current = k;
        this.draw();
      },
    }));
    const animal = make("label", {}, "animal ", make("input", {
      type: "text", value: region.animal, "aria-label": `animal of region ${k + 1}`,
      oninput: (event) => {
        region.animal = event.target.value.trim();
        this.draw();
      },
    }));
    const remove = make("button", { type: "button", "aria-label": `Remove region ${k + 1}`,
      onclick: () => {
        this.list.splice(k, 1);
        this.current = Math.max(0, this.current - 1);
        this.#fill();
        this.draw();
      } }, "Remove");
    return make("fieldset", { "data-current": String(k === this.current),
      onfocusin: () => this.#choose(k) },
    animal, ...["x", "y", "width", "height"].map(number), remove);
  }

  #choose(k) {
    if (this.current === k) return;
    this.current = k;
    for (const [i, item] of [...this.panel.querySelectorAll("fieldset")].entries()) {
      item.dataset.current = String(i === k);
    }
    this.draw();
  }

  #add() {
    const [width, height] = this.size;
    const used = new Set(this.list.map((region) => region.animal));
    const animal = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"].find((name) => !used.has(name)) ?? "";
    this.list.push({ animal: this.list.length || used.size ? animal : "A", x: 0, y: 0,
      width: Math.floor(width / 2), height: Math.floor(height / 2) });
    this.current = this.list.length - 1;
    this.#fill();
    this.draw();
  }

  #point(event) {
    const box = this.overlay.getBoundingClientRect();
    const [width, height] = this.size;
    const at = (value, start, length, most) =>
      Math.round(Math.min(Math.max((value - start) / length, 0), 1) * most);
    return [at(event.clientX, box.left, box.width, width), at(event.clientY, box.top, box.height, height)];
  }

  #down(event) {
    if (!this.isOpen || event.button !== 0) return;
    if (!this.list.length) this.#add();
    this.drag = this.#point(event);
    event.preventDefault();
    event.stopPropagation();
  }

  #move(event) {
    if (!this.drag || !this.isOpen) return;
    const [x, y] = this.#point(event);
    const region = this.list[this.current];
    const [left, top] = [Math.min(x, this.drag[0]), Math.min(y, this.drag[1])];
    const [right, bottom] = [Math.max(x, this.drag[0]), Math.max(y, this.drag[1])];
    if (right - left < LEAST || bottom - top < LEAST) return;
    Object.assign(region, { x: left, y: top, width: right - left, height: bottom - top });
    this.#fill();
    this.draw();
  }

  async #save() {
    try {
      const reply = await post("regions", { name: this.name }, { regions: this.list });
      this.handlers.onSaved(reply.recordings);
    } catch (error) {
      this.handlers.onMessage(error.message);
    }
  }
}
