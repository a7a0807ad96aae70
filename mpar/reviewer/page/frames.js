// The frames of a recording by number: fetched in chunks, ahead of where the viewer goes.
// Until the server has counted a frame, its picture may be wrong: it is fetched again then.

import { getBytes } from "./api.js";

const MAX_BYTES = 192 * 2 ** 20;
const MAX_PIXELS = 48 * 2 ** 20;
const CHUNK = 24;

export class Frames {
  constructor(name, numFrames, onGeneration) {
    this.name = name;
    this.numFrames = numFrames;
    this.onGeneration = onGeneration;
    this.generation = null;
    this.blobs = new Map(); // number -> Blob, the least used first
    this.numBytes = 0;
    this.unproven = new Set();
    this.numProven = 0;
    this.bitmaps = new Map(); // number -> Promise of ImageBitmap
    this.isFetching = false;
    this.isClosed = false;
  }

  close() {
    this.isClosed = true;
    for (const bitmap of this.bitmaps.values()) bitmap.then((b) => b?.close(), () => {});
    this.bitmaps.clear();
    this.blobs.clear();
  }

  has(number) {
    return this.blobs.has(number);
  }

  isProven(number) {
    return this.blobs.has(number) && !this.unproven.has(number);
  }

  // The server has proven so many frames: drop their pictures from before, and return their numbers.
  prove(numProven) {
    this.numProven = Math.max(this.numProven, numProven);
    const dropped = [...this.unproven].filter((number) => number < this.numProven);
    dropped.forEach((number) => this.#forget(number));
    return dropped;
  }

  #forget(number) {
    this.numBytes -= this.blobs.get(number)?.size ?? 0;
    this.blobs.delete(number);
    this.unproven.delete(number);
    const promise = this.bitmaps.get(number);
    this.bitmaps.delete(number);
    promise?.then((bitmap) => bitmap.close(), () => {});
  }

  // Return a promise of the picture of a frame, null if the server has none.
  async get(number) {
    for (let tries = 0; tries < 200 && !this.blobs.has(number) && !this.isClosed; tries++) {
      await this.#fetch({ start: number, stop: number + 1, urgent: 1 });
      if (!this.blobs.has(number)) await new Promise((done) => setTimeout(done, 150));
    }
    return this.#bitmap(number);
  }

  // Return a promise of a small picture of this frame or of one shortly before it, null if the
  // server has none yet. It comes at once, and does not count as the picture of the frame.
  async small(number) {
    const { bytes } = await getBytes("frames", { name: this.name, start: number, small: 1 });
    if (!bytes.byteLength) return null;
    const found = new DataView(bytes).getUint32(0, true);
    const blob = new Blob([new Uint8Array(bytes, 8)], { type: "image/jpeg" });
    return { number: found, bitmap: await createImageBitmap(blob) };
  }

  // The picture if it is ready to be drawn, else null; starts to prepare it.
  ready(number) {
    if (!this.blobs.has(number)) return null;
    const promise = this.#bitmap(number);
    return promise.bitmap ?? null;
  }

  #bitmap(number) {
    let promise = this.bitmaps.get(number);
    if (promise) {
      this.bitmaps.delete(number);
    } else {
      const blob = this.blobs.get(number);
      if (!blob) return Promise.resolve(null);
      promise = createImageBitmap(blob);
      promise.then((bitmap) => {
        promise.bitmap = bitmap;
        this.#drop(bitmap.width * bitmap.height);
      }, () => {});
    }
    this.bitmaps.set(number, promise);
    return promise;
  }

  #drop(pixels) {
    const most = Math.max(6, Math.floor(MAX_PIXELS / pixels));
    for (const [number, promise] of this.bitmaps) {
      if (this.bitmaps.size <= most) break;
      this.bitmaps.delete(number);
      promise.then((bitmap) => bitmap.close(), () => {});
    }
  }

  async #fetch(values) {
    const { bytes, generation, numProven } = await getBytes("frames", { name: this.name, ...values });
    if (this.isClosed) return 0;
    if (this.generation !== null && this.generation !== generation) {
      this.onGeneration();
      return 0;
    }
    this.generation = generation;
    const view = new DataView(bytes);
    let place = 0;
    let count = 0;
    while (place < bytes.byteLength) {
      const number = view.getUint32(place, true);
      const length = view.getUint32(place + 4, true);
      const blob = new Blob([new Uint8Array(bytes, place + 8, length)], { type: "image/jpeg" });
      const isProven = number < numProven;
      if (isProven || number >= this.numProven) this.#keep(number, blob, isProven);
      place += 8 + length;
      count += 1;
    }
    return count;
  }

  #keep(number, blob, isProven) {
    if (isProven && this.unproven.has(number)) this.#forget(number);
    if (this.blobs.has(number)) return;
    this.blobs.set(number, blob);
    if (!isProven) this.unproven.add(number);
    this.numBytes += blob.size;
    for (const [other, old] of this.blobs) {
      if (this.numBytes <= MAX_BYTES) break;
      this.blobs.delete(other);
      this.unproven.delete(other);
      this.numBytes -= old.size;
    }
  }

  // Fetch what the viewer will need: `count` frames in each direction, `step` apart.
  async readAhead(from, step, forward, backward) {
    if (this.isFetching || this.isClosed) return;
    const chunk = this.#missing(from, step, forward) ?? this.#missing(from, -step, backward);
    this.#prepare(from, step, forward >= backward);
    if (!chunk) return;
    this.isFetching = true;
    try {
      await this.#fetch(chunk);
    } catch {
      await new Promise((done) => setTimeout(done, 500));
    } finally {
      this.isFetching = false;
    }
  }

  // Return the first chunk with a frame that is not here, up to `count` frames away.
  #missing(from, step, count) {
    const size = Math.abs(step);
    for (let k = 0; k <= count; k++) {
      const number = from + k * step;
      if (number < 0 || number >= this.numFrames) return null;
      if (this.blobs.has(number)) continue;
      if (step > 0) return { start: number, stop: Math.min(number + CHUNK * size, this.numFrames), step };
      const start = Math.max(number % size, number - (CHUNK - 1) * size);
      return { start, stop: number + 1, step: size };
    }
    return null;
  }

  // Unpack the next pictures before they are due.
  #prepare(from, step, isForward) {
    for (let k = 1; k <= 6; k++) this.ready(from + (isForward ? k : -k) * step);
    this.ready(from + (isForward ? -step : step));
  }
}
