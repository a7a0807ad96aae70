// Draws the ethograms of the pages of mpar.report.html_report, which embeds it in each page.
// Reads the JSON in the element "data": classes, their colors, and the recordings.
"use strict";
window.onerror = (message) => { document.documentElement.dataset.error = message; };
(() => {
const INK = "#222222", LEFT = 90, RIGHT = 14, ROW = 20, THIN = 7, TRACE = 22, GAP = 4, AXIS = 22;
const MIN_FRAMES = 8;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
  3600, 7200, 14400];
const data = JSON.parse(document.getElementById("data").textContent);
const nameOf = (label) => data.classes.at(label);  // -1 is the last: unlabelled
const make = (tag, parent, properties) =>
  parent.appendChild(Object.assign(document.createElement(tag), properties));

// Return the run that holds a frame; runs are [start, label, start, label, ...].
function runAt(runs, frame) {
  let low = 0, high = runs.length / 2 - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (runs[2 * middle] <= frame) low = middle; else high = middle - 1;
  }
  return low;
}

function stopOf(runs, run, numFrames) {
  return 2 * run + 2 < runs.length ? runs[2 * run + 2] : numFrames;
}

// Return runs of 1 where two rows disagree; unlabelled frames of the first row never disagree.
function differences(a, b, numFrames) {
  const runs = [];
  for (let frame = 0; frame < numFrames;) {
    const i = runAt(a, frame), j = runAt(b, frame);
    const differs = a[2 * i + 1] >= 0 && a[2 * i + 1] !== b[2 * j + 1] ? 1 : 0;
    if (!runs.length || runs.at(-1) !== differs) runs.push(frame, differs);
    frame = Math.min(stopOf(a, i, numFrames), stopOf(b, j, numFrames));
  }
  return runs;
}

function timeText(seconds, step) {
  if (seconds < 0) return "\u2212" + timeText(-seconds, step);
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  if (seconds < 60 && step < 60) return seconds.toFixed(digits) + " s";
  const rest = (seconds % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return Math.floor(seconds / 60) + ":" + rest;
}

const hatch = (() => {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, 6, 6);
  pen.strokeStyle = "#999999";
  pen.beginPath();
  for (const x of [-3, 3, 9]) { pen.moveTo(x - 3, 6); pen.lineTo(x + 3, 0); }
  pen.stroke();
  return tile;
})();

function isDark(color) {
  const [red, green, blue] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue < 120;
}

function ethogram(figure, recording) {
  const numFrames = recording.numFrames, rows = recording.rows;
  if (!numFrames) return null;
  const confidence = recording.confidence &&
    Uint8Array.from(atob(recording.confidence), (c) => c.charCodeAt(0));
  const differ = rows.length > 1 && differences(rows[0].runs, rows.at(-1).runs, numFrames);
  const edges = recording.edges;  // seconds; null if a frame is shown every 1 / fps seconds
  const shownAt = (frame) => edges ? edges[Math.round(frame)] : frame / recording.fps;
  const secondsAt = (frame) => shownAt(frame) - recording.onset;
  const placeOf = (seconds) => {  // also between two frames
    const time = seconds + recording.onset;
    if (!edges) return time * recording.fps;
    let after = edges.findIndex((edge) => edge > time);
    if (after < 0) after = numFrames;
    after = Math.max(1, after);
    return after - 1 + (time - edges[after - 1]) / (edges[after] - edges[after - 1]);
  };
  const orders = rows.map(({runs}) => {  // of drawing: rare classes above frequent ones
    const counts = new Map();
    for (let run = 0; run < runs.length / 2; run++) {
      const frames = stopOf(runs, run, numFrames) - runs[2 * run];
      counts.set(runs[2 * run + 1], (counts.get(runs[2 * run + 1]) || 0) + frames);
    }
    return [...counts].sort((a, b) => b[1] - a[1]).map(([label]) => label);
  });
  const bands = rows.length * (ROW + GAP) + (differ ? THIN + GAP : 0)
    + (confidence ? TRACE + GAP : 0);
  const tools = make("div", figure, {className: "tools"});
  const plot = make("div", figure, {className: "plot"});
  const canvas = make("canvas", plot, {tabIndex: 0});
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "ethogram of " + recording.name);
  canvas.style.height = bands + AXIS + "px";
  const mark = make("div", plot, {className: "mark"});
  mark.style.height = bands + "px";
  let start = 0, stop = numFrames, width = 0, dragged = null;
  const x = (frame) => LEFT + (frame - start) / (stop - start) * width;
  const frameAt = (position) => Math.min(numFrames - 1, Math.max(0,
    Math.floor(start + (position - LEFT) / width * (stop - start))));

  function look(from, to) {
    const span = Math.min(numFrames, Math.max(Math.min(MIN_FRAMES, numFrames), to - from));
    const middle = (from + to) / 2;
    start = Math.max(0, Math.min(numFrames - span, middle - span / 2));
    stop = start + span;
    draw();
  }
  const zoom = (factor) => {
    const middle = (start + stop) / 2, half = (stop - start) / 2 * factor;
    look(middle - half, middle + half);
  };
  const shift = (share) => {
    const step = (stop - start) * share;
    const moved = Math.max(-start, Math.min(numFrames - stop, step));
    look(start + moved, stop + moved);
  };
  const all = () => look(0, numFrames);

  function drawRuns(pen, runs, top, height, order, style) {
    const first = runAt(runs, Math.floor(start));
    for (const label of order) {
      pen.fillStyle = style(label, pen);
      for (let run = first; 2 * run < runs.length && runs[2 * run] < stop; run++) {
        if (runs[2 * run + 1] !== label) continue;
        const left = x(Math.max(start, runs[2 * run]));
        const right = x(Math.min(stop, stopOf(runs, run, numFrames)));
        pen.fillRect(left, top, Math.max(1, right - left), height);
      }
    }
  }

  function nameRuns(pen, runs, top) {
    for (let run = runAt(runs, Math.floor(start)); 2 * run < runs.length; run++) {
      if (runs[2 * run] >= stop) break;
      const left = x(Math.max(start, runs[2 * run]));
      const right = x(Math.min(stop, stopOf(runs, run, numFrames)));
      const label = runs[2 * run + 1];
      if (label < 0 || right - left < 30) continue;
      if (pen.measureText(data.classes[label]).width > right - left - 8) continue;
      pen.fillStyle = isDark(data.colors[label]) ? "#ffffff" : INK;
      pen.fillText(data.classes[label], left + 4, top + ROW / 2 + 1);
    }
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1, full = canvas.clientWidth;
    width = Math.max(50, full - LEFT - RIGHT);
    canvas.width = Math.round(full * ratio);
    canvas.height = Math.round((bands + AXIS) * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const pattern = pen.createPattern(hatch, "repeat");
    const paint = (label) => label < 0 ? pattern : data.colors[label];
    const title = (text, middle) => {
      pen.fillStyle = INK;
      pen.fillText(text, 0, middle, LEFT - 8);
    };
    let top = 0;
    rows.forEach((row, r) => {
      title(row.name, top + ROW / 2);
      drawRuns(pen, row.runs, top, ROW, orders[r], paint);
      nameRuns(pen, row.runs, top);
      top += ROW + GAP;
    });
    if (differ) {
      title("differ", top + THIN / 2);
      drawRuns(pen, differ, top, THIN, [1], () => INK);
      top += THIN + GAP;
    }
    if (confidence) {
      title("confidence", top + TRACE / 2);
      pen.fillStyle = "#9a9a9a";
      const cell = Math.max(1, width / (stop - start));
      for (let left = 0; left < width - 0.01; left += cell) {
        const from = frameAt(LEFT + left + 0.01);
        const to = Math.max(from + 1, Math.ceil(start + (left + cell) / width * (stop - start)));
        let sum = 0, count = 0;
        for (let i = from; i < Math.min(to, numFrames); i++) { sum += confidence[i]; count++; }
        const height = TRACE * sum / count / 100;
        const right = Math.min(cell + 0.5, width - left);  // no seam between neighbours
        pen.fillRect(LEFT + left, top + TRACE - height, right, height);
      }
      pen.strokeStyle = "#cccccc";
      pen.strokeRect(LEFT, top, width, TRACE);
      top += TRACE + GAP;
    }
    const seconds = secondsAt(stop) - secondsAt(start);
    const step = STEPS.find((s) => seconds / s <= 8) || STEPS.at(-1);
    pen.fillStyle = pen.strokeStyle = INK;
    pen.textAlign = "center";
    pen.beginPath();
    pen.moveTo(LEFT, top + 0.5);
    pen.lineTo(LEFT + width, top + 0.5);
    for (let n = Math.ceil(secondsAt(start) / step - 1e-9);
         n * step <= secondsAt(stop) + 1e-9; n++) {
      const at = x(placeOf(n * step));
      pen.moveTo(at, top);
      pen.lineTo(at, top + 4);
      if (at < LEFT + width - 8) pen.fillText(timeText(n * step, step), at, top + 13);
    }
    pen.stroke();
  }

  const button = (text, title, act) =>
    make("button", tools, {type: "button", textContent: text, title, onclick: act});
  button("+", "zoom in", () => zoom(0.5));
  button("\u2212", "zoom out", () => zoom(2));
  button("\u25c2", "earlier", () => shift(-0.5));
  button("\u25b8", "later", () => shift(0.5));
  button("all", "the whole recording", all);
  const output = make("output", tools, {textContent: "\u00a0"});

  function read(frame) {
    const parts = ["frame " + frame, secondsAt(frame).toFixed(3) + " s"];
    for (const {name, runs} of rows) {
      parts.push(name + " " + nameOf(runs[2 * runAt(runs, frame) + 1]));
    }
    if (confidence) parts.push("confidence " + (confidence[frame] / 100).toFixed(2));
    output.textContent = parts.join(" \u00b7 ");
  }
  const place = (event) => event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener("pointerdown", (event) => { dragged = place(event); });
  canvas.addEventListener("pointermove", (event) => {
    const at = Math.min(LEFT + width, Math.max(LEFT, place(event)));
    const from = dragged === null ? at : Math.max(LEFT, Math.min(dragged, at));
    mark.style.display = "block";
    mark.style.left = from + "px";
    mark.style.width = (dragged === null ? 0 : Math.abs(at - Math.max(LEFT, dragged))) + "px";
    read(frameAt(at));
  });
  canvas.addEventListener("pointerup", (event) => {
    const from = dragged;
    dragged = null;
    mark.style.width = "0";
    if (from === null || Math.abs(place(event) - from) < 5) return;
    const ends = [from, place(event)].map((at) => Math.min(LEFT + width, Math.max(LEFT, at)));
    const [a, b] = ends.map((at) => start + (at - LEFT) / width * (stop - start));
    look(Math.min(a, b), Math.max(a, b));
  });
  canvas.addEventListener("pointerleave", () => {
    dragged = null;
    mark.style.display = "none";
  });
  canvas.addEventListener("dblclick", all);
  canvas.addEventListener("keydown", (event) => {
    const acts = {"+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": all,
      ArrowLeft: () => shift(-0.25), ArrowRight: () => shift(0.25)};
    if (!acts[event.key] || event.ctrlKey || event.metaKey) return;
    acts[event.key]();
    event.preventDefault();
  });
  draw();
  return {draw, look, read};
}

const ethograms = data.recordings.map((recording, i) =>
  ethogram(document.getElementById("recording-" + i), recording));
let timer = 0;
window.addEventListener("resize", () => {
  clearTimeout(timer);
  timer = setTimeout(() => ethograms.forEach((one) => one && one.draw()), 100);
});
for (const link of document.querySelectorAll("a.show")) {
  link.addEventListener("click", () => {
    const {recording, start, stop} = link.dataset;
    const margin = Math.max(15, 1.5 * (stop - start));
    ethograms[recording].look(Number(start) - margin, Number(stop) + margin);
    ethograms[recording].read(Number(start));
  });
}
document.documentElement.dataset.drawn = String(ethograms.filter(Boolean).length);
})();
