// What the scorer does to the own lane: labelling while going forward, ranges, edges, history.

import { NONE, nextEdge, nextGap, runAt } from "./lanes.js";

const COMMIT_MS = 600;

export class Scorer {
  constructor(review) {
    this.review = review;
    this.selection = null; // [start, stop)
    this.brush = null; // {k, code, start, last, sent, group}: labels every frame that is passed
    this.curveClass = Math.min(1, review.study.classes.length - 1); // the first is often rest
    this.count = 0;
    this.from = null;
  }

  get frame() {
    return this.review.player.frame;
  }

  get own() {
    return this.review.own;
  }

  run(command, value) {
    const commands = {
      label: () => this.label(value),
      clear: () => this.clear(),
      from: () => this.#mark(0),
      to: () => this.#mark(1),
      extend: () => this.#extend(value),
      bout: () => this.selectBout(this.frame),
      all: () => this.select([0, this.own.length]),
      escape: () => this.#escape(),
      start: () => this.#moveBout(0),
      end: () => this.#moveBout(1),
      split: () => this.#split(),
      join: () => this.#join(),
      undo: () => this.history("undo"),
      redo: () => this.history("redo"),
      accept: () => this.accept(),
      curve: () => this.curve(value),
    };
    commands[command]?.();
  }

  #group() {
    this.count += 1;
    return `${Date.now().toString(36)}-${this.count}`;
  }

  // Set a code on [start, stop), here at once, then on the server.
  #set(start, stop, code, group = "") {
    if (stop > this.review.timeline.numCertain) {
      this.review.say(`mpar has counted ${this.review.timeline.numCertain} frames so far; wait a moment to score later ones.`);
      return false;
    }
    this.own.fill(code, start, stop);
    this.#send({ kind: "set", start, stop, code, group });
    return true;
  }

  #send(edit) {
    this.review.sender.send({ ...edit, seen: this.review.seen.take() });
    this.review.timeline.draw();
    this.review.side.update();
  }

  label(k) {
    const { code } = this.review.study.classes[k];
    if (this.selection) {
      const [start, stop] = this.selection;
      this.stop();
      if (this.#set(start, stop, code)) this.select(null);
      return;
    }
    if (this.brush?.k === k) return;
    this.stop();
    if (!this.review.player.isExact) {
      this.review.holdUntilShown("label", k);
      return;
    }
    const { frame } = this;
    const group = this.#group();
    if (!this.#set(frame, frame + 1, code, group)) return;
    this.brush = { k, code, start: frame, last: frame, sent: frame + 1, group };
    this.review.side.update();
  }

  // The scorer has gone forward to a frame, step by step or playing.
  moved(frame) {
    const { brush } = this;
    if (!brush) return;
    if (frame < brush.last) {
      this.stop();
      return;
    }
    brush.last = frame;
    this.own.fill(brush.code, brush.start, frame + 1);
    this.review.timeline.draw();
    this.timer ??= setTimeout(() => this.#commit(), COMMIT_MS);
  }

  #commit() {
    clearTimeout(this.timer);
    this.timer = null;
    const { brush } = this;
    if (!brush || brush.last + 1 <= brush.sent) return;
    const from = brush.sent;
    brush.sent = brush.last + 1;
    if (!this.#set(from, brush.sent, brush.code, brush.group)) {
      this.drop();
      this.review.refresh();
    }
  }

  // Stop labelling; what was labelled stays.
  stop() {
    this.#commit();
    this.brush = null;
    this.review.side.update();
  }

  // Forget what the server has refused.
  drop() {
    clearTimeout(this.timer);
    this.timer = null;
    this.brush = null;
  }

  // Show the labels that are not sent yet on a lane that came from the server.
  repaint() {
    const { brush } = this;
    if (brush) this.own.fill(brush.code, brush.start, brush.last + 1);
  }

  select(span) {
    this.selection = span;
    this.review.timeline.selection = span;
    if (span) this.stop();
    this.review.timeline.draw();
    this.review.side.update();
  }

  #mark(side) {
    this.stop();
    const { frame } = this;
    const [start, stop] = this.selection ?? [frame, frame + 1];
    if (side === 0) this.select([frame, Math.max(stop, frame + 1)]);
    else this.select([Math.min(start, frame), frame + 1]);
  }

  #extend(direction) {
    const { frame } = this;
    const next = Math.min(Math.max(0, frame + direction), this.own.length - 1);
    const [start, stop] = this.selection ?? [frame, frame + 1];
    const isAtStop = frame === stop - 1;
    const fixed = isAtStop && !(start === frame && direction < 0) ? start : stop - 1;
    this.review.go(next);
    this.select([Math.min(fixed, next), Math.max(fixed, next) + 1]);
  }

  selectBout(frame, codes = null) {
    const { predicted } = this.review;
    const lane = codes ?? (this.own[frame] === NONE && predicted ? predicted : this.own);
    this.select(runAt(lane, frame));
  }

  #escape() {
    if (this.brush) this.stop();
    else this.select(null);
    this.review.player.loop = null;
    this.review.controls.update();
  }

  clear() {
    this.stop();
    const span = this.selection ?? (this.own[this.frame] === NONE ? null : runAt(this.own, this.frame));
    if (span && this.#set(...span, NONE)) this.select(null);
  }

  // Move the edge between two runs: the one that grows keeps its code.
  moveEdge(edge, frame) {
    this.stop();
    if (frame > edge) this.#set(edge, frame, this.own[edge - 1]);
    else if (frame < edge) this.#set(frame, edge, this.own[edge]);
  }

  // The bout here, or else the nearest one, starts or ends at this frame.
  #moveBout(side) {
    this.stop();
    const { frame, own } = this;
    const span = this.#nearest(frame, side);
    if (!span) {
      this.review.say("There is no bout near this frame.", true);
      return;
    }
    const [start, stop] = span;
    const code = own[start];
    if (side === 0 && frame < start) this.#set(frame, start, code);
    else if (side === 0 && frame > start) this.#set(start, frame, start > 0 ? own[start - 1] : NONE);
    else if (side === 1 && frame >= stop) this.#set(stop, frame + 1, code);
    else if (side === 1 && frame < stop - 1) {
      this.#set(frame + 1, stop, stop < own.length ? own[stop] : NONE);
    }
  }

  // The range if it is a bout, the bout here, or the next (to start earlier) or last one.
  #nearest(frame, side) {
    const { own } = this;
    if (this.selection && own[this.selection[0]] !== NONE) return runAt(own, this.selection[0]);
    if (own[frame] !== NONE) return runAt(own, frame);
    let at = frame;
    while (at >= 0 && at < own.length && own[at] === NONE) at += side === 0 ? 1 : -1;
    return at >= 0 && at < own.length ? runAt(own, at) : null;
  }

  #split() {
    this.stop();
    const [start, stop] = runAt(this.own, this.frame);
    const isInside = this.own[this.frame] !== NONE && this.frame > start && this.frame < stop - 1;
    if (isInside) this.#set(this.frame, this.frame + 1, NONE);
    else this.review.say("Go to a frame inside a bout to split it there.", true);
  }

  #join() {
    this.stop();
    const { own } = this;
    let at = this.frame;
    while (at >= 0 && own[at] === NONE) at -= 1;
    if (at < 0) return;
    const stop = runAt(own, at)[1];
    const next = own.indexOf(own[at], stop);
    if (next < 0) this.review.say(`There is no later bout of ${this.review.nameOf(own[at])}.`, true);
    else this.#set(stop, next, own[at]);
  }

  history(kind) {
    this.stop();
    this.#send({ kind });
    this.review.hold();
  }

  accept() {
    const { predicted } = this.review;
    const [start, stop] = this.selection ?? runAt(predicted ?? this.own, this.frame);
    if (!this.acceptSpan(start, stop)) return;
    this.select(null);
    this.review.go(stop);
  }

  // Copy the prediction of [start, stop) into the own lane; return whether that is possible.
  acceptSpan(start, stop) {
    const { predicted } = this.review;
    if (!predicted) {
      this.review.say(this.review.isReading
        ? "mpar is still reading the prediction; wait a moment."
        : "There is no prediction to accept.", true);
      return false;
    }
    this.stop();
    if (stop > this.review.timeline.numCertain) {
      this.review.say("mpar is still counting these frames; wait a moment.");
      return false;
    }
    this.own.set(predicted.subarray(start, stop), start);
    this.#send({ kind: "accept", start, stop });
    return true;
  }

  edge(direction) {
    const { predicted } = this.review;
    const found = nextEdge(this.own, this.frame, direction);
    if (!predicted) return found;
    const other = nextEdge(predicted, this.frame, direction);
    return direction > 0 ? Math.min(found, other) : Math.max(found, other);
  }

  gap() {
    const frame = nextGap(this.own, this.frame);
    if (frame < 0) this.review.say("Every frame has a class.", true);
    else this.review.go(frame);
  }

  loop() {
    const { player } = this.review;
    if (player.loop) player.loop = null;
    else {
      const { predicted } = this.review;
      const lane = this.own[this.frame] === NONE && predicted ? predicted : this.own;
      player.loop = this.selection ?? runAt(lane, this.frame);
      if (!player.direction) player.play(1);
    }
    this.review.controls.update();
  }

  async curve(direction) {
    const { review } = this;
    if (!review.state?.has_probabilities) return;
    const { classes } = review.study;
    this.curveClass = (this.curveClass + direction + classes.length) % classes.length;
    await review.side.showCurve(this.curveClass).catch((error) => review.say(error.message));
  }
}
