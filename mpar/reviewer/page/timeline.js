// The time line: lanes of labels, a probability curve, the view of it all, and what a mouse does.

import { NONE, runAt } from "./lanes.js";

const MARGIN = 118;
const OVERVIEW = 16;
const RULER = 18;
const GAP = 4;
const SEEN = 4;
const GRIP = 6; // px around an edge in which it can be taken
const MIN_VIEW = 12; // frames
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600];

export function clockText(seconds, digits = 3) {
  const sign = seconds < 0 ? "-" : "";
  const unit = 10 ** digits;
  const ticks = Math.round(Math.abs(seconds) * unit);
  const minutes = Math.floor(ticks / unit / 60);
  const rest = ticks / unit - 60 * minutes;
  const text = rest.toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return `${sign}${minutes}:${text}`;
}

export class Timeline {
  // `handlers`: onSeek(frame), onSelect(start, stop), onEdge(edge, frame), onBout(frame)
  constructor(canvas, handlers) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.handlers = handlers;
    this.lanes = []; // {label, codes, height, kind}
    this.numFrames = 0;
    this.view = [0, 1];
    this.frame = 0;
    this.selection = null;
    this.stretch = null; // [start, stop) to look at
    this.curve = null; // {values, color, label}
    this.numCertain = 0;
    this.drag = null;
    this.style = () => ({ color: "#888" });
    this.seconds = (frame) => frame;
    this.seen = null;
    this.isQueued = false;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.drop());
    canvas.addEventListener("dblclick", (event) => this.#double(event));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  open(numFrames) {
    this.numFrames = numFrames;
    this.view = [0, Math.max(MIN_VIEW, numFrames)];
    this.selection = null;
    this.curve = null;
    this.drag = null;
    this.canvas.setAttribute("aria-valuemax", numFrames - 1);
    this.resize();
  }

  // Take the height that the lanes need.
  resize() {
    const heights = this.lanes.map((lane) => lane.height + GAP);
    const height = OVERVIEW + GAP + RULER + heights.reduce((a, b) => a + b, 0) + 2;
    this.canvas.style.height = `${height}px`;
    this.draw();
  }

  // Draw once before the next picture of the browser.
  draw() {
    if (this.isQueued) return;
    this.isQueued = true;
    requestAnimationFrame(() => {
      this.isQueued = false;
      this.#paint();
    });
  }

  get width() {
    return this.canvas.clientWidth - MARGIN;
  }

  x(frame) {
    const [from, to] = this.view;
    return MARGIN + ((frame - from) / (to - from)) * this.width;
  }

  frameAt(x) {
    const [from, to] = this.view;
    return from + ((x - MARGIN) / this.width) * (to - from);
  }

  #clamped(frame) {
    return Math.min(Math.max(0, Math.floor(frame)), this.numFrames - 1);
  }

  setView(from, to) {
    const most = Math.max(MIN_VIEW, this.numFrames);
    const length = Math.min(Math.max(to - from, MIN_VIEW), most);
    const start = Math.min(Math.max(0, from), most - length);
    this.view = [start, start + length];
    this.draw();
  }

  zoom(factor, center = this.frame + 0.5) {
    const [from, to] = this.view;
    const share = Math.min(Math.max((center - from) / (to - from), 0), 1);
    const length = Math.min(Math.max((to - from) / factor, MIN_VIEW), this.numFrames);
    this.setView(center - share * length, center + (1 - share) * length);
  }

  // Keep the current frame in view.
  follow(frame) {
    this.frame = frame;
    const [from, to] = this.view;
    const length = to - from;
    if (!this.drag && (frame < from + 0.02 * length || frame + 1 > to - 0.04 * length)) {
      if (length < this.numFrames) {
        this.setView(frame < from + length / 2 ? frame - 0.85 * length : frame - 0.15 * length,
          frame < from + length / 2 ? frame + 0.15 * length : frame + 0.85 * length);
      }
    }
    this.canvas.setAttribute("aria-valuenow", frame);
    this.draw();
  }

  // Scroll so that a stretch can be seen with room around it.
  reveal(start, stop) {
    const length = Math.max(3 * (stop - start), 60);
    const [from, to] = this.view;
    const isSeen = start >= from && stop <= to && stop - start > 0.04 * (to - from);
    if (!isSeen) this.setView((start + stop - length) / 2, (start + stop + length) / 2);
  }

  #colors() {
    const style = getComputedStyle(document.documentElement);
    const names = ["ink", "soft", "line", "lane", "hatch", "head", "pick", "outline", "curve", "seen", "accent"];
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  #paint() {
    const { canvas, context } = this;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    const sizes = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.width !== sizes[0] || canvas.height !== sizes[1]) [canvas.width, canvas.height] = sizes;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.numFrames) return;
    const colors = this.#colors();
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "middle";
    const own = this.lanes.find((lane) => lane.kind === "own");
    const view = this.view;
    context.fillStyle = colors.soft;
    context.fillText("Whole", 0, OVERVIEW / 2 + 1);
    this.view = [0, Math.max(MIN_VIEW, this.numFrames)];
    if (own) this.#paintLane(own.codes, 1, OVERVIEW - 2, colors, false);
    this.#paintHead(0, OVERVIEW, colors);
    const [from, to] = view.map((frame) => this.x(frame));
    this.view = view;
    context.strokeStyle = colors.accent;
    context.lineWidth = 2;
    context.strokeRect(from + 1, 1, Math.max(4, to - from - 2), OVERVIEW - 1);
    this.#paintRuler(OVERVIEW + GAP, colors);
    let top = OVERVIEW + GAP + RULER;
    this.tops = [];
    for (const lane of this.lanes) {
      this.tops.push(top);
      this.#paintLabel(lane, top, colors);
      if (lane.kind === "curve") this.#paintCurve(top, lane.height, colors);
      else this.#paintLane(lane.codes, top, lane.height - (lane.kind === "own" ? SEEN + 1 : 0), colors, true);
      if (lane.kind === "own") this.#paintSeen(top + lane.height - SEEN, colors);
      top += lane.height + GAP;
    }
    const begin = OVERVIEW + GAP + RULER;
    this.#paintStretch(begin - 3, top - begin + 2, colors);
    this.#paintSelection(begin, top - begin, colors);
    this.#paintHead(begin - 4, top - begin + 4, colors);
  }

  #paintLabel(lane, top, colors) {
    const { context } = this;
    context.fillStyle = lane.kind === "own" ? colors.ink : colors.soft;
    context.font = `${lane.kind === "own" ? "600 " : ""}13px system-ui, sans-serif`;
    context.save();
    context.beginPath();
    context.rect(0, top, MARGIN - 6, lane.height);
    context.clip();
    context.fillText(lane.label, 0, top + lane.height / 2);
    context.restore();
    context.font = "13px system-ui, sans-serif";
  }

  #paintLane(codes, top, height, colors, isOutlined) {
    const { context } = this;
    const right = MARGIN + this.width;
    context.save();
    context.beginPath();
    context.rect(MARGIN, top, this.width, height);
    context.clip();
    context.fillStyle = colors.lane;
    context.fillRect(MARGIN, top, this.width, height);
    context.strokeStyle = colors.hatch;
    context.lineWidth = 1;
    context.beginPath();
    for (let x = MARGIN - height; x < right; x += 7) {
      context.moveTo(x, top + height);
      context.lineTo(x + height, top);
    }
    context.stroke();
    const last = Math.min(this.numFrames, Math.ceil(this.view[1]));
    const perPixel = (this.view[1] - this.view[0]) / this.width;
    let start = Math.max(0, Math.floor(this.view[0]));
    while (start < last) {
      const code = codes[start];
      let stop = start + 1;
      while (stop < last && codes[stop] === code) stop += 1;
      if (code !== NONE) {
        const x = this.x(start);
        const size = Math.max(1, this.x(stop) - x);
        context.fillStyle = this.style(code).color;
        context.fillRect(x, top, size, height);
        if (isOutlined && (stop - start) / perPixel > 4) {
          context.strokeStyle = colors.outline;
          context.strokeRect(x + 0.5, top + 0.5, size - 1, height - 1);
        }
      }
      start = stop;
    }
    context.restore();
  }

  #paintSeen(top, colors) {
    if (!this.seen) return;
    const { context } = this;
    const per = (this.view[1] - this.view[0]) / this.width;
    context.fillStyle = colors.seen;
    for (let x = 0; x < this.width; x++) {
      const frame = Math.floor(this.view[0] + x * per);
      if (this.seen.flags[frame]) context.fillRect(MARGIN + x, top, 1, SEEN - 1);
    }
  }

  #paintCurve(top, height, colors) {
    const { context, curve } = this;
    context.fillStyle = colors.lane;
    context.fillRect(MARGIN, top, this.width, height);
    if (!curve) return;
    const per = (this.view[1] - this.view[0]) / this.width;
    context.save();
    context.beginPath();
    context.rect(MARGIN, top, this.width, height);
    context.clip();
    context.beginPath();
    context.moveTo(MARGIN, top + height);
    for (let x = 0; x <= this.width; x++) {
      const first = Math.max(0, Math.floor(this.view[0] + x * per));
      const last = Math.min(this.numFrames, Math.max(first + 1, Math.floor(this.view[0] + (x + 1) * per)));
      let most = 0;
      for (let i = first; i < last; i++) most = Math.max(most, curve.values[i]);
      context.lineTo(MARGIN + x, top + height - 1 - (most / 255) * (height - 2));
    }
    context.lineTo(MARGIN + this.width, top + height);
    context.closePath();
    context.fillStyle = curve.color;
    context.globalAlpha = 0.45;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = colors.curve;
    context.lineWidth = 1;
    context.stroke();
    context.restore();
  }

  #paintRuler(top, colors) {
    const { context } = this;
    const first = this.seconds(this.#clamped(this.view[0]));
    const last = this.seconds(this.#clamped(this.view[1] - 1));
    const wanted = ((last - first) / this.width) * 90;
    const step = STEPS.find((s) => s >= wanted) ?? STEPS.at(-1);
    const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
    context.fillStyle = colors.soft;
    context.strokeStyle = colors.line;
    context.fillText("min:s", 0, top + RULER / 2);
    let frame = this.#clamped(this.view[0]);
    for (let k = Math.ceil(first / step - 1e-6); k * step <= last + 1e-9; k++) {
      frame = this.#frameFrom(frame, k * step);
      const x = this.x(frame);
      context.beginPath();
      context.moveTo(x + 0.5, top + RULER - 5);
      context.lineTo(x + 0.5, top + RULER);
      context.stroke();
      const text = clockText(k * step, digits);
      const half = context.measureText(text).width / 2;
      const at = Math.min(Math.max(x - half, MARGIN), MARGIN + this.width - 2 * half);
      context.fillText(text, at, top + RULER / 2 - 2);
    }
  }

  // Return the first frame at a time or later, by bisection.
  #frameFrom(low, seconds) {
    let high = this.numFrames - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.seconds(middle) >= seconds - 1e-9) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #paintStretch(top, height, colors) {
    if (!this.stretch) return;
    const { context } = this;
    const [from, to] = this.stretch.map((frame) => this.x(frame));
    context.save();
    context.beginPath();
    context.rect(MARGIN - 2, top - 2, this.width + 4, height + 4);
    context.clip();
    context.strokeStyle = colors.accent;
    context.lineWidth = 3;
    context.setLineDash([7, 4]);
    context.strokeRect(from, top, to - from, height - 1);
    context.restore();
  }

  #paintSelection(top, height, colors) {
    const span = this.drag?.kind === "edge" ? this.drag.span : this.selection;
    if (!span) return;
    const { context } = this;
    const from = Math.max(MARGIN, this.x(span[0]));
    const to = Math.min(MARGIN + this.width, this.x(span[1]));
    if (to < from) return;
    context.fillStyle = colors.pick;
    context.fillRect(from, top, Math.max(1, to - from), height);
    context.strokeStyle = colors.accent;
    context.lineWidth = 1.5;
    context.strokeRect(from, top, Math.max(1, to - from), height - 1);
  }

  #paintHead(top, height, colors) {
    const { context } = this;
    const from = this.x(this.frame);
    const to = this.x(this.frame + 1);
    if (to < MARGIN || from > MARGIN + this.width) return;
    context.fillStyle = colors.head;
    if (to - from > 4) {
      context.globalAlpha = 0.25;
      context.fillRect(from, top, to - from, height);
      context.globalAlpha = 1;
    }
    context.fillRect(Math.max(MARGIN, from) - 0.5, top, 2, height);
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #laneAt(y) {
    const k = (this.tops ?? []).findIndex((top, i) => y >= top && y < top + this.lanes[i].height + GAP);
    return this.lanes[k] ?? null;
  }

  // Return the edge of a run of the scorer's lane near a place.
  #edgeAt(x, y) {
    const lane = this.#laneAt(y);
    if (lane?.kind !== "own") return null;
    const reach = (GRIP / this.width) * (this.view[1] - this.view[0]);
    const at = this.frameAt(x);
    let best = null;
    const first = Math.max(1, Math.ceil(at - reach));
    for (let i = first; i <= Math.min(this.numFrames - 1, at + reach); i++) {
      const isEdge = lane.codes[i] !== lane.codes[i - 1];
      if (isEdge && (best === null || Math.abs(i - at) < Math.abs(best - at))) best = i;
    }
    return best;
  }

  #down(event) {
    if (event.button !== 0 || !this.numFrames) return;
    const [x, y] = this.#place(event);
    this.canvas.setPointerCapture(event.pointerId);
    if (y < OVERVIEW + GAP) {
      this.drag = { kind: "overview" };
      this.#move(event);
      return;
    }
    const edge = this.#edgeAt(x, y);
    if (edge !== null) {
      const codes = this.#laneAt(y).codes;
      const low = runAt(codes, edge - 1)[0] + 1;
      const high = runAt(codes, edge)[1] - 1;
      this.drag = { kind: "edge", edge, to: edge, low, high, span: [edge, edge] };
      return;
    }
    this.drag = { kind: "select", from: this.#clamped(this.frameAt(x)), x, isMoved: false };
    this.handlers.onSeek(this.drag.from);
  }

  #move(event) {
    const [x, y] = this.#place(event);
    const { drag } = this;
    if (!drag) {
      this.canvas.style.cursor = this.#edgeAt(x, y) === null ? "crosshair" : "ew-resize";
      return;
    }
    if (drag.kind === "overview") {
      const frame = ((x - MARGIN) / this.width) * this.numFrames;
      const half = (this.view[1] - this.view[0]) / 2;
      this.setView(frame - half, frame + half);
      this.handlers.onSeek(this.#clamped(frame));
      return;
    }
    const frame = this.frameAt(x);
    if (drag.kind === "edge") {
      drag.to = Math.min(Math.max(Math.round(frame), drag.low), drag.high);
      drag.span = [Math.min(drag.edge, drag.to), Math.max(drag.edge, drag.to)];
      this.handlers.onSeek(this.#clamped(drag.to));
    } else if (drag.isMoved || Math.abs(x - drag.x) > 3) {
      drag.isMoved = true;
      const to = this.#clamped(frame);
      this.selection = [Math.min(drag.from, to), Math.max(drag.from, to) + 1];
      this.handlers.onSeek(to);
      this.handlers.onSelect(this.selection);
    }
    this.draw();
  }

  #up() {
    const { drag } = this;
    this.drag = null;
    if (drag?.kind === "edge" && drag.to !== drag.edge) this.handlers.onEdge(drag.edge, drag.to);
    if (drag?.kind === "select" && !drag.isMoved) this.handlers.onSelect(null);
    this.draw();
  }

  // Let go of what is dragged.
  drop() {
    this.drag = null;
    this.draw();
  }

  #double(event) {
    const [x, y] = this.#place(event);
    if (y > OVERVIEW) this.handlers.onBout(this.#clamped(this.frameAt(x)), this.#laneAt(y));
  }

  #wheel(event) {
    event.preventDefault();
    const [x] = this.#place(event);
    const length = this.view[1] - this.view[0];
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (sideways) this.setView(...this.view.map((f) => f + (sideways / this.width) * length));
    else this.zoom(event.deltaY < 0 ? 1.25 : 0.8, this.frameAt(x));
  }
}
