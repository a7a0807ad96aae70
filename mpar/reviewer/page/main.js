// The page: opens recordings, and turns keys, buttons and drags into moves and edits.

import { getBytes, getJson, post, Sender } from "./api.js";
import { Controls } from "./controls.js";
import { Frames } from "./frames.js";
import { fillHelp } from "./help.js";
import { bindings, hasPrefix, nameOf, PREFIX, readLayout } from "./keys.js";
import { codesOf, NONE, Seen } from "./lanes.js";
import { Picture } from "./picture.js";
import { Player } from "./player.js";
import { Checks, Queue } from "./queue.js";
import { Regions } from "./regions.js";
import { Scorer } from "./scorer.js";
import { Side } from "./side.js";
import { Square } from "./square.js";
import { clockText, Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 1500;
const WAIT_MS = 200;
const READ_MS = 7000; // for which a message stays at least

class Review {
  constructor(study, layout) {
    this.study = study;
    this.layout = layout;
    this.prefix = ""; // keys of a class pressed so far
    this.name = "";
    this.state = null;
    this.classOf = new Map(Object.entries(study.class_of).map(([code, k]) => [Number(code), k]));
    this.player = new Player($("picture"), {
      onShow: (frame, isPlaying) => this.#shown(frame, isPlaying),
      onSketch: (frame) => this.#sayLate(`Frame ${this.player.frame} comes; this is a small picture of frame ${frame}`),
      onState: () => this.controls?.update(),
      onError: (text) => this.say(text),
    });
    this.picture = new Picture($("stage"), $("holder"), $("picture"), () => this.regions.isOpen);
    this.timeline = new Timeline($("timeline"), {
      onSeek: (frame) => this.inTurn(() => this.go(frame)),
      onSelect: (span) => this.inTurn(() => this.state && this.scorer.select(span)),
      // an edge is that of the lane on the screen, which changes if something waits
      onEdge: (edge, frame) => this.state && !this.held && this.inTurn(() => this.scorer.moveEdge(edge, frame)),
      onBout: (frame, lane) => this.inTurn(() => this.state && this.scorer.selectBout(frame, lane?.codes)),
    });
    this.timeline.style = (code) => ({ color: this.color(code) });
    this.timeline.seconds = (frame) => this.player.seconds(frame);
    this.sender = new Sender({
      onReply: (reply, isLast) => this.#replied(reply, isLast),
      onState: (count, isLost) => this.#showSaved(count, isLost),
      onStale: (text) => this.#reload(`${text}; your last edit was not taken. This is the newest state.`),
      onRefused: (text) => this.#reload(text),
    });
    this.scorer = new Scorer(this);
    this.side = new Side(this);
    this.regions = new Regions($("region-panel"), $("overlay"), $("stage"), {
      onSaved: (names) => this.#regionsSaved(names),
      onMessage: (text) => this.say(text),
    });
    this.square = new Square($("square"), study.has_tracks);
    this.controls = new Controls(this);
    const groups = ["Move", "Score", ...(study.is_blind ? [] : ["Predictions"]), "View",
      ...(study.has_queue ? ["Queue"] : []), ...(study.is_estimate ? ["Estimate"] : [])];
    this.keys = bindings(study.classes.length, groups);
    fillHelp($("help"), study.classes, groups, layout);
    $("who").textContent = study.annotator + (study.is_blind ? " (blind)" : "");
    this.#fillList();
    this.#listen();
    if (study.has_queue) this.queue = new Queue(this, $("queue-panel"));
    if (study.is_estimate) this.queue = new Checks(this, $("queue-panel"));
  }

  #fillList() {
    $("recording").replaceChildren(...this.study.recordings.map(({ name }) => new Option(name, name)));
  }

  #listen() {
    $("recording").addEventListener("change", (event) => {
      const { value } = event.target;
      // the list names what is open: this may have to wait, and may be dropped
      event.target.value = this.name;
      this.inTurn(() => this.open(value));
      event.target.blur();
    });
    $("message").addEventListener("click", () => this.say(""));
    $("undo").addEventListener("click", () => this.run("undo"));
    $("redo").addEventListener("click", () => this.run("redo"));
    $("help-button").addEventListener("click", () => $("help").showModal());
    // a button that was clicked with a mouse must not take the next press of the space bar
    document.addEventListener("click", (event) => {
      if (event.detail) event.target.closest("button")?.blur();
    });
    document.addEventListener("keydown", (event) => this.#key(event));
    window.addEventListener("pagehide", () => this.#sendSeen(true));
    window.addEventListener("beforeunload", (event) => {
      this.scorer.stop();
      if (!this.isSettled) event.preventDefault();
    });
    setInterval(() => this.#poll(), POLL_MS);
  }

  #key(event) {
    if (event.altKey || $("help").open) return;
    const tag = event.target.tagName;
    const name = nameOf(event);
    if (tag === "INPUT" || tag === "SELECT") {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (tag === "BUTTON" && (name === "Space" || name === "Enter")) return;
    if (["Shift", "Control", "Alt", "AltGraph", "Meta"].includes(event.key)) return;
    if (name === PREFIX && hasPrefix(this.study.classes.length)) {
      if (!event.repeat) this.#setPrefix(this.prefix + PREFIX);
      return;
    }
    const found = this.keys.get(this.prefix + name);
    const isDropped = this.prefix && (!found || name === "Escape");
    this.#setPrefix("");
    if (!found || isDropped) return;
    event.preventDefault();
    this.run(...found);
  }

  #setPrefix(keys) {
    if (this.prefix === keys) return;
    this.prefix = keys;
    this.side.update();
  }

  color(code) {
    const k = this.classOf.get(code);
    return k === undefined ? null : this.study.classes[k].color;
  }

  nameOf(code) {
    return code === NONE || code === undefined ? "no class" : this.study.names[code];
  }

  // Say something: a plain message goes by itself, a problem with a click or the next thing done.
  say(text, isPlain = false) {
    const message = $("message");
    message.textContent = text;
    message.hidden = !text;
    message.setAttribute("role", isPlain ? "status" : "alert");
    clearTimeout(this.silence);
    this.isRead = false;
    if (text) this.silence = setTimeout(() => (isPlain ? this.say("") : (this.isRead = true)), READ_MS);
  }

  // Open a recording; wait until the server knows its frames. Return whether it is open, and not another.
  async open(name, frame = 0) {
    await this.#leave();
    this.timeline.stretch = null;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    this.name = name;
    this.state = null;
    $("recording").value = name;
    this.#veil("Opening ...");
    let state;
    for (;;) {
      try {
        state = await getJson("recording", { name });
      } catch (error) {
        state = { error: error.message };
      }
      if (turn !== this.turn) return false;
      if (state.error) {
        this.#veil(state.error);
        return false;
      }
      if (state.num_frames !== null) break;
      this.#veil(`mpar counts the frames of this video once, so that their numbers are exact.\n` +
        `${state.num_counted} of about ${state.hint} so far`);
      await new Promise((done) => setTimeout(done, WAIT_MS));
      if (turn !== this.turn) return false;
    }
    const times = state.is_steady ? null : new Float64Array((await getBytes("times", { name })).bytes);
    if (turn !== this.turn) return false;
    this.state = state;
    this.#veil("");
    const frames = new Frames(name, state.num_frames, () => this.#reopen());
    this.player.open(frames, state.fps, times);
    this.picture.open(state.width, state.height);
    this.regions.open(state);
    this.square.open(state);
    this.sender.name = name;
    this.seen = new Seen(state.seen, state.num_frames);
    this.#takeState(state);
    this.timeline.open(state.num_frames);
    this.timeline.numCertain = 0;
    this.#showCounted(state);
    this.side.opened();
    this.controls.update();
    if (state.problems.length) this.say(state.problems.join("\n"));
    this.player.show(frame);
    this.scorer.curve(0);
    return true;
  }

  // Open what a link names, "#name=VIDEO&frame=N&regions=1", by default the first recording.
  async openAt(hash) {
    const wanted = new URLSearchParams(hash.slice(1));
    const names = this.study.recordings.map(({ name }) => name);
    const stem = (wanted.get("name") ?? "").replace(/\.[^.]+$/, "");
    const fits = (name) => [wanted.get("name"), stem].includes(name);
    const name = names.find(fits) ?? names.find((item) => item.startsWith(`${stem}__`));
    await this.open(name ?? names[0], Number(wanted.get("frame")) || 0);
    if (wanted.get("regions") && !this.regions.isOpen) this.regions.toggle();
  }

  #takeState(state) {
    this.sender.revision = state.revision;
    this.own = codesOf(state.runs, state.num_frames);
    this.#takeLanes(state);
    this.#showHistory(state);
  }

  // Show what the server has read of predictions and of others; it may come after the rest.
  #takeLanes(state) {
    const T = state.num_frames;
    this.isReading = state.is_reading;
    this.predicted = state.predicted ? codesOf(state.predicted, T) : null;
    const others = Object.entries(state.others).map(([label, runs]) => (
      { label, codes: codesOf(runs, T), height: 16, kind: "other" }));
    const lanes = [];
    if (this.predicted) lanes.push({ label: "mpar", codes: this.predicted, height: 20, kind: "predicted" });
    if (state.has_probabilities) lanes.push({ label: "", height: 34, kind: "curve" });
    lanes.push({ label: this.study.annotator, codes: this.own, height: 32, kind: "own" });
    this.timeline.lanes = [...lanes, ...others];
    this.timeline.seen = this.seen;
    this.timeline.resize();
  }

  async #readLanes() {
    const { name, player } = this;
    const { frames } = player;
    const state = await getJson("recording", { name });
    if (frames !== player.frames || state.num_frames !== this.state?.num_frames) return;
    this.state = { ...this.state, has_probabilities: state.has_probabilities };
    this.#takeLanes(state);
    this.side.opened();
    if (state.problems.length) this.say(state.problems.join("\n"));
    this.scorer.curve(0);
  }

  #veil(text) {
    $("veil").textContent = text;
    $("veil").hidden = !text;
  }

  async #leave() {
    if (!this.state) return;
    this.isLeaving = true;
    this.player.pause();
    this.scorer.stop();
    this.scorer.select(null);
    await this.sender.settle();
    await this.#sendSeen();
    this.held = null;
    this.isLeaving = false;
  }

  // Wait until every label is at its frame and every edit is confirmed.
  async settle() {
    while (!this.isSettled) await new Promise((done) => setTimeout(done, 20));
  }

  get isSettled() {
    return !this.held && !this.scorer.timer && this.sender.isIdle;
  }

  #reopen() {
    this.say("mpar has counted the frames: their numbers are different from what the file states.");
    this.open(this.name, this.player.frame);
  }

  // Take the newest state from the server, then say why; commands that come meanwhile wait.
  async #reload(text) {
    this.held = null;
    if (this.state) {
      const { frames } = this.player;
      this.scorer.drop();
      this.hold();
      try {
        const state = await getJson("recording", { name: this.name });
        const isHere = this.state && frames === this.player.frames;
        if (isHere && state.runs && state.num_frames === this.state.num_frames) this.#replied(state, true);
        else if (isHere) await this.open(this.name, this.player.frame);
      } catch (error) {
        this.#release();
        this.say(error.message);
        return;
      }
    }
    this.say(text);
  }

  // Show what the server has, after an edit that was not sent.
  refresh() {
    this.#reload($("message").textContent);
  }

  #replied(reply, isLast) {
    this.sender.revision = reply.revision;
    this.#showHistory(reply);
    if (!isLast) return;
    this.own.fill(NONE);
    for (const [start, stop, code] of reply.runs) this.own.fill(code, start, stop);
    this.scorer.repaint();
    this.timeline.draw();
    this.side.update();
    document.body.dataset.revision = reply.revision;
    this.#release();
  }

  #showHistory(state) {
    $("undo").disabled = !state.undo;
    $("redo").disabled = !state.redo;
    $("undo").title = `Ctrl+Z, ${state.undo} steps`;
    $("redo").title = `Ctrl+Shift+Z, ${state.redo} steps`;
  }

  #showSaved(count, isLost) {
    const saved = $("saved");
    saved.classList.toggle("bad", isLost);
    saved.textContent = isLost
      ? `Not saved (${count}): the page for scoring was closed; open it again`
      : count ? "Saving ..." : "Saved";
    document.body.dataset.waiting = count;
  }

  // While the server counts, ask often: nobody should wait to score longer than it takes.
  async #showCounted({ num_certain: count, num_frames: all }) {
    const { player } = this;
    const { frames } = player;
    // what was shown before its proof may have been wrong: show it again before it can be scored
    if (frames.prove(count).includes(player.shown)) await player.redraw();
    if (frames !== player.frames) return;
    this.timeline.numCertain = Math.max(this.timeline.numCertain, count);
    document.body.dataset.counted = count;
    if (count < all || this.isReading) setTimeout(() => this.#poll(), WAIT_MS);
  }

  async #poll() {
    if (!this.state) return;
    const { name, sender } = this;
    const { revision } = sender;
    let found;
    try {
      found = await getJson("progress", { name });
    } catch (error) {
      if (error.status === 0) this.#showSaved(sender.waiting.length, true);
      return;
    }
    if (name !== this.name || !this.state) return;
    if ($("saved").classList.contains("bad")) this.#showSaved(sender.waiting.length, false);
    this.#showCounted(found);
    if (this.isReading && found.is_reading === false) await this.#readLanes();
    if (found.error) this.say(found.error);
    else if (found.num_frames !== this.state.num_frames) this.#reopen();
    else if (this.isSettled && revision === sender.revision && found.revision !== revision) {
      this.#reload("Changed in another window; this is the newest state.");
    } else this.#sendSeen();
  }

  async #sendSeen(isLast = false) {
    const { name, seen } = this;
    const spans = this.state ? seen.take() : [];
    if (!spans.length) return;
    if (isLast) {
      const path = `seen?${new URLSearchParams({ name })}`;
      navigator.sendBeacon(path, JSON.stringify({ seen: spans }));
      return;
    }
    try {
      await post("seen", { name }, { seen: spans });
    } catch {
      seen.fresh.push(...spans);
    }
  }

  async #regionsSaved(names) {
    this.study = { ...this.study, recordings: (await getJson("study")).recordings };
    this.#fillList();
    this.say(`Saved regions.csv; this video now has the recordings ${names.join(", ")}.`, true);
    this.open(names.includes(this.name) ? this.name : names[0], this.player.frame);
  }

  #shown(frame, isPlaying) {
    if (!this.state) return;
    $("late").hidden = true;
    this.square.show(frame);
    const isProven = this.player.frames.isProven(frame);
    if (isProven) this.seen.add(frame, isPlaying, this.player.stride);
    if (isPlaying && isProven) this.scorer.moved(frame);
    else if (isPlaying) this.scorer.stop();
    this.#showPlace(frame);
  }

  #showPlace(frame) {
    const { num_frames: count } = this.state;
    $("place").textContent = `Frame ${frame} (last ${count - 1}) · ${clockText(this.player.seconds(frame))}`;
    this.timeline.follow(frame);
    this.timeline.canvas.setAttribute("aria-valuetext", `frame ${frame}, ${this.nameOf(this.own[frame])}`);
    this.side.update();
  }

  // Move to a frame; labelling stops unless the move is a step forward.
  go(frame, isStep = false) {
    if (!this.state) return;
    this.player.pause();
    const wanted = Math.min(Math.max(0, frame), this.state.num_frames - 1);
    if (isStep && wanted >= this.player.frame) this.scorer.moved(wanted);
    else this.scorer.stop();
    this.player.show(wanted);
    if (this.player.shown !== wanted) {
      // the picture is still that of another frame, and must not be taken for this one
      this.#sayLate(`Frame ${wanted} comes; this is frame ${this.player.shown}`);
      this.#showPlace(wanted);
    }
  }

  #sayLate(text) {
    $("late").textContent = text;
    $("late").hidden = false;
  }

  // After an undo, only the server knows the lane: what is asked for waits until it has answered.
  hold() {
    this.held ??= [];
    this.timeline.drop();
  }

  // A frame may be scored once it is on the screen: until then, what is asked for waits.
  async holdUntilShown(command, value) {
    const { player } = this;
    const { frame, frames } = player;
    const held = (this.held = [() => this.#do(command, value)]);
    await player.arriving;
    if (this.held !== held) return;
    if (player.frames !== frames || player.frame !== frame || !player.isExact) {
      this.held = [];
      this.say(`Frame ${frame} was not shown, so it was not scored.`);
    }
    this.#release();
  }

  #release() {
    const held = this.held ?? [];
    this.held = null;
    while (held.length && !this.held) this.inTurn(held.shift());
    this.held?.push(...held);
  }

  // Do what keys, buttons and the mouse ask for in the order in which they ask; what they ask for
  // while the page goes to another recording or stretch is dropped, since it was meant for neither.
  inTurn(action) {
    if (this.isLeaving || this.queue?.isBusy) return;
    if (this.held) this.held.push(action);
    else action();
  }

  run(command, value) {
    if (this.isRead) this.say("");
    this.inTurn(() => this.#do(command, value));
  }

  #do(command, value) {
    const { player, scorer, timeline, picture } = this;
    const commands = {
      toggle: () => this.toggle(value),
      step: () => this.go(player.frame + value, true),
      jump: () => this.go(player.frame + value * Math.max(1, Math.round(player.fps))),
      first: () => this.go(0),
      last: () => this.go(player.last),
      edge: () => this.go(scorer.edge(value)),
      gap: () => scorer.gap(),
      speed: () => this.controls.faster(value),
      loop: () => scorer.loop(),
      recording: () => this.next(value),
      stretch: () => this.queue?.next(value),
      acceptStretch: () => this.queue?.accept(),
      regions: () => this.regions.toggle(),
      square: () => this.square.toggle(),
      help: () => $("help").showModal(),
      zoom: () => timeline.zoom(value),
      fit: () => timeline.setView(0, this.state.num_frames),
      enlarge: () => picture.enlarge(value),
      pan: () => picture.pan(value),
      brightness: () => this.controls.adjust("brightness", picture.brightness + value),
      contrast: () => this.controls.adjust("contrast", picture.contrast + value),
      plain: () => this.controls.plain(),
    };
    if (!this.state && command !== "help" && command !== "recording") return;
    (commands[command] ?? (() => scorer.run(command, value)))();
  }

  toggle(direction) {
    if (this.player.direction) this.player.pause();
    else {
      if (direction < 0) this.scorer.stop();
      this.player.play(direction);
    }
  }

  next(direction) {
    const names = this.study.recordings.map(({ name }) => name);
    const at = names.indexOf(this.name) + direction;
    if (at < 0 || at >= names.length) this.say(direction > 0 ? "This is the last recording." : "This is the first recording.", true);
    else this.open(names[at]);
  }
}

const study = await getJson("study");
const review = new Review(study, await readLayout());
globalThis.review = review; // for tests and for the browser's console
if (study.warnings.length) review.say(study.warnings.join("\n"));
if (study.is_estimate) await review.queue.start();
else {
  await review.openAt(location.hash);
  review.queue?.load();
}
window.addEventListener("hashchange", () => review.inTurn(() => review.openAt(location.hash)));
