// Fits the picture into its place; zooms, moves, and changes its brightness and contrast.

const MOST = 12;

export class Picture {
  constructor(stage, holder, canvas, isLocked) {
    this.stage = stage;
    this.holder = holder;
    this.canvas = canvas;
    this.size = [16, 16];
    this.zoom = 1;
    this.center = [0.5, 0.5]; // of the view, as shares of the picture
    this.brightness = 1;
    this.contrast = 1;
    new ResizeObserver(() => this.lay()).observe(stage);
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.enlarge(event.deltaY < 0 ? 1.2 : 1 / 1.2, event);
    }, { passive: false });
    let last = null;
    stage.addEventListener("pointerdown", (event) => {
      if (event.button === 0 && !isLocked()) last = [event.clientX, event.clientY];
    });
    stage.addEventListener("pointermove", (event) => {
      if (!last || this.zoom === 1) return;
      this.#shift(last[0] - event.clientX, last[1] - event.clientY);
      last = [event.clientX, event.clientY];
    });
    window.addEventListener("pointerup", () => (last = null));
  }

  open(width, height) {
    this.size = [width, height];
    this.zoom = 1;
    this.center = [0.5, 0.5];
    this.lay();
  }

  get #scale() {
    const { clientWidth, clientHeight } = this.stage;
    return Math.min(clientWidth / this.size[0], clientHeight / this.size[1]) * this.zoom;
  }

  lay() {
    const { clientWidth, clientHeight } = this.stage;
    const scale = this.#scale;
    const size = this.size.map((side) => side * scale);
    const room = [clientWidth, clientHeight];
    const place = [0, 1].map((k) => {
      if (size[k] <= room[k]) {
        this.center[k] = 0.5;
        return (room[k] - size[k]) / 2;
      }
      const half = room[k] / 2 / size[k];
      this.center[k] = Math.min(Math.max(this.center[k], half), 1 - half);
      return room[k] / 2 - this.center[k] * size[k];
    });
    const style = this.holder.style;
    [style.left, style.top, style.width, style.height] = [...place, ...size].map((px) => `${px}px`);
    this.canvas.classList.toggle("sharp", scale * window.devicePixelRatio >= 4);
    this.stage.style.cursor = this.zoom > 1 ? "grab" : "";
  }

  #shift(dx, dy) {
    const scale = this.#scale;
    this.center[0] += dx / (this.size[0] * scale);
    this.center[1] += dy / (this.size[1] * scale);
    this.lay();
  }

  pan([dx, dy]) {
    this.#shift(dx * 60, dy * 60);
  }

  // Zoom about the middle, or about the place of an event.
  enlarge(factor, event = null) {
    const before = this.#scale;
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), MOST);
    if (this.zoom < 1.05) this.zoom = 1;
    const change = 1 - before / this.#scale;
    if (event) {
      const box = this.stage.getBoundingClientRect();
      const offset = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
      this.center = this.center.map((c, k) => c + (offset[k] * change) / (this.size[k] * before));
    }
    this.lay();
  }

  adjust(name, value) {
    this[name] = Math.min(Math.max(Math.round(value * 10) / 10, 0.2), 4);
    this.canvas.style.filter = `brightness(${this.brightness}) contrast(${this.contrast})`;
  }

  plain() {
    this.zoom = 1;
    this.adjust("brightness", 1);
    this.adjust("contrast", 1);
    this.lay();
  }
}
