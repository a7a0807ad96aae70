// Shows frames: one by one, or as time passes.

import { RefusedError } from "./api.js";

export const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4, 8];
const MAX_SHOWN_PER_SECOND = 60;
const MAX_LAG_SECONDS = 0.25;

export class Player {
  // `onShow(frame, isPlaying)` after each frame that is drawn, `onSketch(frame)` after a small
  // picture of a frame nearby, `onState()` when playing changes.
  constructor(canvas, handlers) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.handlers = handlers;
    this.frames = null;
    this.times = null;
    this.fps = 30;
    this.frame = 0; // where the scorer is
    this.shown = -1; // what is on the canvas
    this.speed = 1;
    this.direction = 0; // 1 forward, -1 backward, 0 paused
    this.loop = null; // [start, stop)
    this.drawing = 0;
  }

  open(frames, fps, times) {
    this.pause();
    this.frames?.close();
    this.frames = frames;
    this.fps = fps;
    this.times = times;
    this.shown = -1;
    this.frame = 0;
    this.loop = null;
  }

  seconds(frame) {
    return this.times ? this.times[Math.min(frame, this.times.length - 1)] : frame / this.fps;
  }

  get last() {
    return this.frames.numFrames - 1;
  }

  get stride() {
    return Math.max(1, Math.round((this.fps * this.speed) / MAX_SHOWN_PER_SECOND));
  }

  #draw(number, bitmap) {
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.context.drawImage(bitmap, 0, 0);
    this.shown = number;
    this.canvas.dataset.frame = number;
    this.canvas.dataset.sketch = "";
    this.handlers.onShow(number, this.direction !== 0);
    this.#readAhead();
  }

  // Draw a small picture until the exact one is here.
  #sketch({ number, bitmap }) {
    this.context.drawImage(bitmap, 0, 0, this.canvas.width, this.canvas.height);
    bitmap.close();
    this.shown = -1;
    this.canvas.dataset.frame = "";
    this.canvas.dataset.sketch = number;
    this.handlers.onSketch(number);
  }

  #readAhead() {
    const seconds = 3 * this.speed * this.fps;
    const many = Math.min(240, Math.max(48, Math.round(seconds / this.stride)));
    const step = this.direction ? this.stride : 1;
    const ahead = this.direction ? many : 36;
    const [forward, backward] = this.direction < 0 ? [2, ahead] : [ahead, this.direction ? 2 : 36];
    const frames = this.frames;
    frames.readAhead(this.frame, step, forward, backward).then(() => {
      if (frames === this.frames && !frames.isFetching) this.#again(frames);
    });
  }

  // Go on reading ahead while paused, too.
  #again(frames) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => frames === this.frames && this.#readAhead(), 60);
  }

  // Whether the canvas shows the very frame that the scorer is at.
  get isExact() {
    return this.shown === this.frame;
  }

  // Go to a frame and draw it as soon as it is here.
  show(frame) {
    this.arriving = this.#show(frame);
    return this.arriving;
  }

  async #show(frame) {
    this.frame = Math.min(Math.max(0, frame), this.last);
    this.clock = null;
    const wanted = this.frame;
    const ready = this.frames.ready(wanted);
    if (ready) {
      this.#draw(wanted, ready);
      return;
    }
    const turn = ++this.drawing;
    const frames = this.frames;
    const isWanted = () =>
      frames === this.frames && turn === this.drawing && wanted === this.frame && this.shown !== wanted;
    frames.small(wanted).then((small) => small && isWanted() && this.#sketch(small), () => {});
    try {
      const bitmap = await frames.get(wanted);
      if (bitmap && isWanted()) this.#draw(wanted, bitmap);
    } catch (error) {
      if (!(error instanceof RefusedError) && error.name !== "InvalidStateError") throw error;
      this.handlers.onError(error.message);
    }
  }

  // Draw again the frame that is shown.
  async redraw() {
    this.shown = -1;
    if (!this.direction) await this.show(this.frame);
  }

  play(direction = 1) {
    if (!this.frames) return;
    const atEnd = direction > 0 ? this.frame >= this.last : this.frame <= 0;
    if (atEnd && !this.loop) this.show(direction > 0 ? 0 : this.last);
    this.direction = direction;
    this.clock = null;
    this.handlers.onState();
    requestAnimationFrame((now) => this.#tick(now));
  }

  pause() {
    if (!this.direction) return;
    this.direction = 0;
    this.handlers.onState();
  }

  setSpeed(speed) {
    this.speed = speed;
    this.clock = null;
    this.handlers.onState();
  }

  #next() {
    const next = this.frame + this.direction * this.stride;
    if (this.loop) {
      const [start, stop] = this.loop;
      if (this.direction > 0 && (next >= stop || next < start)) return start;
      if (this.direction < 0 && (next < start || next >= stop)) return stop - 1;
    }
    return Math.min(Math.max(next, 0), this.last);
  }

  #tick(now) {
    if (!this.direction) return;
    const next = this.#next();
    if (next === this.frame && !this.loop) {
      this.pause();
      return;
    }
    const isJump = Math.sign(next - this.frame) !== this.direction;
    const span = Math.abs(this.seconds(next) - this.seconds(this.frame));
    const wait = isJump ? this.stride / this.fps : span;
    if (this.clock === null) this.clock = now;
    const due = this.clock + (1000 * wait) / this.speed;
    if (now >= due - 2) {
      const bitmap = this.frames.ready(next);
      if (bitmap) {
        // frames are never skipped: if the machine lags, time does
        this.clock = now - due > 1000 * MAX_LAG_SECONDS ? now : due;
        this.frame = next;
        this.#draw(next, bitmap);
      } else {
        this.clock = now - (1000 * wait) / this.speed;
        if (!this.frames.has(next)) this.#fetchNow(next);
      }
    }
    requestAnimationFrame((later) => this.#tick(later));
  }

  #fetchNow(number) {
    if (this.missing === number) return;
    this.missing = number;
    const done = () => (this.missing = null);
    if (this.loop && number === this.loop[0]) this.frames.get(number).then(done, done);
    else this.frames.readAhead(number, this.stride, 48, 0).then(done, done);
  }
}
