// Lanes: a code for each frame, -1 for none.

export const NONE = -1;

// Return codes from runs of (start, stop, code, ...).
export function codesOf(runs, numFrames) {
  const codes = new Int16Array(numFrames).fill(NONE);
  for (const [start, stop, code] of runs) codes.fill(code, start, stop);
  return codes;
}

// Return the run of equal codes around a frame: [start, stop).
export function runAt(codes, frame) {
  const code = codes[frame];
  let start = frame;
  let stop = frame + 1;
  while (start > 0 && codes[start - 1] === code) start -= 1;
  while (stop < codes.length && codes[stop] === code) stop += 1;
  return [start, stop];
}

// Return the next frame at which a run starts, in a direction; the end of the lane if none.
export function nextEdge(codes, frame, direction) {
  if (direction > 0) {
    for (let i = frame + 1; i < codes.length; i++) if (codes[i] !== codes[i - 1]) return i;
    return codes.length - 1;
  }
  for (let i = frame - 1; i > 0; i--) if (codes[i] !== codes[i - 1]) return i;
  return 0;
}

// Return the first frame from `frame` on, and then from the start, that has no code; -1 if none.
export function nextGap(codes, frame) {
  const after = codes.indexOf(NONE, frame);
  return after >= 0 ? after : codes.indexOf(NONE);
}

// Stretches that were on the screen and that the server does not know of yet.
export class Seen {
  constructor(spans, numFrames) {
    this.flags = new Uint8Array(numFrames);
    for (const [start, stop] of spans) this.flags.fill(1, start, stop);
    this.fresh = [];
    this.last = -1;
  }

  // Note a frame that was drawn; while playing, also those between it and the one before.
  add(frame, isPlaying, stride) {
    const isNext = isPlaying && Math.abs(frame - this.last) <= stride;
    const start = isNext ? Math.min(frame, this.last) : frame;
    const stop = isNext ? Math.max(frame, this.last) + 1 : frame + 1;
    this.last = frame;
    if (!this.flags.subarray(start, stop).includes(0)) return;
    this.flags.fill(1, start, stop);
    const previous = this.fresh.at(-1);
    if (previous && start <= previous[1] && stop >= previous[0]) {
      previous[0] = Math.min(previous[0], start);
      previous[1] = Math.max(previous[1], stop);
    } else {
      this.fresh.push([start, stop]);
    }
  }

  take() {
    return this.fresh.splice(0);
  }
}
