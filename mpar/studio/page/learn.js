// Learn: what there is to learn from, the few choices that matter, curves, and what came of it.

import { act, ask, button, cell, choiceField, command, counted, draw, link, make, panel, plot, score, table, text, timeText } from "./dom.js";
import { openScorer } from "./videos.js";

const CHOICES = [
  { of: "preprocess", name: "size", label: "Picture size in px", hint: "as filmed", note: "128, or height x width such as 96x128. Smaller is faster; paws should stay visible." },
  { of: "preprocess", name: "follow", label: "Follow the animal", isFlag: true, note: "The network sees a square around the animal: better if animals are small in the picture." },
  { of: "train", name: "model", label: "Network", values: ["", "auto", "standard", "fast", "none"], note: "auto takes the fast one without a GPU; none learns from movement and features in minutes." },
  { of: "train", name: "minutes", label: "Minutes", isNumber: true, hint: "no limit", note: "Plans the training for this time; leave epochs empty then." },
  { of: "train", name: "epochs", label: "Epochs", isNumber: true, hint: "30 at most", note: "Passes over the labels; more learn more, up to a point." },
  { of: "train", name: "view", label: "Camera", values: ["", "bottom", "side"], note: "From below or above, any turn of the picture looks natural; from the side, only left and right do." },
  { of: "train", name: "features", label: "Frozen features", isFlag: true, note: "Mixes in a network that knows pictures: with few scored videos it helps with postures." },
];

// Read the labels anew, then train; the second job waits for the first.
export async function learnAgain(app, options = []) {
  const first = await app.start("preprocess", options);
  await app.start("train", ["--html"], first);
  location.hash = "#/learn";
}

let chosenRun = "";
let report = null;

export function drawLearn(app) {
  const { state, table: found } = app;
  const job = app.running("preprocess", "train");
  const run = state.runs.find((item) => item.name === chosenRun) ?? state.runs.find((item) => item.is_finished && item.is_in_use) ?? state.runs.find((item) => item.is_finished);
  if (run?.is_finished && report?.name !== run.name) {
    act(async () => {
      report = await ask(`run?name=${encodeURIComponent(run.name)}`);
      drawLearn(app);
    }, true);
  }
  const isShown = run?.is_finished && report?.name === run.name;
  draw("learn",
    ["labels", [found.labelled, found.is_reading, state.expected], () => readiness(app)],
    ["choices", [state.options.preprocess, state.options.train, state.has_cache, Boolean(job), found.labelled.num_recordings], () => job ? null : choices(app)],
    ["running", [job?.number, job?.state, job?.progress?.stage, job?.progress?.note, state.runs[0]?.history.length], () => job ? running(app, job) : null],
    ["stopped", [Boolean(job), state.runs.filter((item) => item.can_continue)], () => job ? null : unfinished(app)],
    ["runs", [state.runs, isShown && run.name], () => runTable(app, run)],
    ["result", isShown && report, () => isShown ? resultOf(run) : null]);
}

function readiness(app) {
  const { labelled, is_reading: isReading } = app.table;
  const few = labelled.classes.filter((item) => item.is_little);
  const { seconds, run, problem } = app.state.expected;
  const basis = app.state.options.train.minutes ? "as you chose" : run ? `at the speed of ${run}` : "for two processor cores without other work; a GPU is faster";
  const time = seconds ? `Learning takes about ${timeText(seconds)} (an estimate, ${basis}), besides reading the videos.` : problem ?? "";
  return make("div", { className: "panel" }, text("h2", "What there is to learn from"),
    text("p", isReading ? "Reading label files …" : `${counted(labelled.num_recordings, "recording")} of ${counted(labelled.num_animals, "animal")} with label files${labelled.num_empty ? `, ${labelled.num_empty} of them without a label` : ""}. ${time}`),
    labelled.num_refused ? text("p", `${counted(labelled.num_refused, "recording")} more will be left out, since something is wrong with the labels; Videos says what.`, "bad") : null,
    table(["Class", "#Frames", "#Bouts", "#Videos", ""], labelled.classes.map((item) => make("tr", {},
      cell(`${item.name}${item.is_response ? " (response)" : ""}`), cell(item.num_frames.toLocaleString("en"), "number"), cell(item.num_bouts, "number"), cell(item.num_videos, "number"),
      cell(item.is_little ? `too little: ${labelled.enough_bouts} bouts and ${labelled.enough_frames} frames or more` : "", "bad")))),
    labelled.num_animals < 3 ? text("p", "At least three animals are needed: to learn from, to choose the best epoch, and to test.", "bad") : null,
    few.length ? text("p", `Score more of ${few.map((item) => item.name).join(", ")}, or merge classes.`, "bad") : null);
}

function choices(app) {
  const { state } = app;
  const fields = CHOICES.map((choice) => choiceField(app, choice));
  const replace = make("input", { type: "checkbox" });
  const options = () => replace.checked ? ["--overwrite"] : [];
  return make("div", { className: "panel" }, text("h2", "Learn"), make("div", { className: "choices" }, ...fields),
    state.has_cache ? make("p", {}, make("label", {}, replace, " Read all videos again (needed if size, following or classes have changed; replaces cache.h5)")) : null,
    make("div", { className: "row" }, button("Learn", () => learnAgain(app, options()), { className: "main", id: "learn-button", disabled: !app.table.labelled.num_recordings })),
    command(app.lines(["preprocess"], ["train", "--html"]), "learning"));
}

function running(app, job) {
  // the run that is being trained is the newest one without an evaluation
  const run = job.command === "train" && job.state === "running" ? app.state.runs.find((item) => !item.is_finished) : null;
  return make("div", { className: "panel", id: "running" }, text("h2", job.command === "train" ? "Learning" : "Reading videos and labels"),
    text("p", job.state === "waiting" ? "waits for its turn" : `${job.progress?.stage ?? "begins"}${job.progress?.note ? `; ${job.progress.note}` : ""}`),
    run?.history.length ? curves(run) : text("p", "Curves appear after the first epoch.", "soft"),
    make("div", { className: "row" }, button("Stop (what was learnt is saved)", async () => {
      await ask("stop", { number: job.number });
      await app.look();
    })));
}

function curves(run) {
  const total = Math.max(run.options.num_epochs || 0, run.history.length);
  const of = (key) => run.history.map((epoch) => epoch[key]);
  const rate = run.history.at(-1).frames_a_second;
  return make("div", {}, make("div", { className: "two" },
    plot("Loss by epoch", [{ name: "loss, training", color: "#c2571a", values: of("loss") }, { name: "loss, validation", color: "#3a7ca5", values: of("val_loss") }], total),
    plot("Macro-F1 by epoch", [{ name: "macro-F1, validation", color: "#2f8f4e", values: of("macro_f1") }], total)),
  text("p", `${counted(run.history.length, "epoch")}${rate ? `, ${Math.round(rate).toLocaleString("en")} frames a second` : ""}`, "soft"));
}

function unfinished(app) {
  return app.state.runs.filter((run) => run.can_continue).map((run) => panel(`${run.name} was stopped`, run.history.length ? curves(run) : null,
    button("Continue", () => app.start("train", run.resume), { className: "main", "aria-label": `Continue ${run.name}` }),
    command(run.resume_line, "continuing")));
}

function runTable(app, shown) {
  const { runs } = app.state;
  if (!runs.length) return panel("Networks", text("p", "None has been trained yet.", "soft"));
  const isMixed = new Set(runs.filter((run) => run.macro_f1 !== null).map((run) => run.tested_on.join())).size > 1;
  return panel("Networks", text("p", "The one in use predicts.", "soft"),
    isMixed ? text("p", "These networks were tested on different recordings, so their scores cannot be compared.", "bad") : null,
    table(["In use", "Run", "Network", "Learnt from, chosen on, tested on", "#Macro-F1 of the test", "#Recall of responses, mean", "#Epochs", "#Predicted", ""], runs.map((run) => {
      const input = make("input", { type: "radio", name: "run", checked: run.is_in_use, disabled: !run.has_network, "aria-label": `Use ${run.name}` });
      input.addEventListener("change", () => act(async () => {
        await ask("use", { run: run.name });
        await app.look();
      }));
      return make("tr", {}, cell(input), cell(`${run.name}${run.is_in_use ? " (in use)" : ""}`, "name"), cell(run.options.model_type ?? ""), cell(`${run.parts.train}, ${run.parts.val}, ${run.parts.test}`),
        cell(score(run.macro_f1, run.interval), "number"), cell(score(run.recall), "number"), cell(run.history.length, "number"), cell(run.num_predicted, "number"),
        cell(run.is_finished ? button(run.name === shown?.name ? "Shown below" : "Show", () => {
          chosenRun = run.name;
          drawLearn(app);
        }, { "aria-label": `Show ${run.name}` }) : text("span", run.can_continue ? "not finished" : "", "soft")));
    })));
}

function resultOf(run) {
  const { scores, intervals, classes, confusion, baselines, disagreements } = report;
  const ordered = [...report.responses, ...classes.filter((name) => !report.responses.includes(name))];
  return make("div", { className: "part", id: "result" },
    make("div", { className: "panel" }, text("h2", `What came of ${run.name}`),
      make("div", { className: "tiles" }, ...[["macro-F1", scores.macro_f1, intervals.macro_f1], ["accuracy", scores.accuracy, intervals.accuracy]].map(([name, value, ends]) =>
        make("div", { className: "tile" }, text("b", score(value)), text("span", `${name}${ends ? `, interval ${score(ends[0])} to ${score(ends[1])}` : ""}`)))),
      text("p", baselines.verdict, "name"), baselines.best_alone ? text("p", baselines.best_alone) : null, report.warning ? text("p", report.warning, "bad") : null, ...report.notes.map((note) => text("p", note, "bad")),
      text("p", `${counted(report.num_recordings, "recording")} of ${counted(intervals.num_animals, "animal")}, ${report.selection === "val" ? "which also chose the best epoch, so the scores are too good" : "which took no part in learning"}.`, "soft"),
      report.page ? make("p", {}, link(report.page, "The whole report")) : null, run.history.length ? curves(run) : null),
    make("div", { className: "two" },
      panel("Scores by class", table(["Class", "#Recall", "#Precision", "#F1", "#Frames"], ordered.map((name) => make("tr", {},
        cell(`${name}${report.responses.includes(name) ? " (response)" : ""}`), ...["recall", "precision", "f1"].map((key) => cell(score(scores.classes[name][key], intervals.classes[name]?.[key]), "number")),
        cell(scores.classes[name].support.toLocaleString("en"), "number"))))),
      panel("What is taken for what", matrix(classes, confusion))),
    panel("Worst disagreements", disagreements.length ? table(["Recording", "Frames", "Person", "mpar", ""], disagreements.map((item) => make("tr", {}, cell(item.recording, "name"),
      cell(`${item.start} to ${item.stop - 1}`), cell(item.truth), cell(item.predicted),
      cell(button("Look at it", () => openScorer({ name: item.recording, frame: item.start }), { "aria-label": `Look at ${item.recording}, frame ${item.start}` }))))) : text("p", "None is listed.", "soft")),
    panel("Ethograms of the test animals", make("div", { className: "figures" }, ...report.ethograms.slice(0, 12).map((path) =>
      make("figure", {}, make("img", { src: `file/${path.split("/").map(encodeURIComponent).join("/")}`, loading: "lazy", alt: `Ethogram of ${path.split("/").at(-1)}: person above, mpar below` }))))));
}

function matrix(classes, confusion) {
  const rows = confusion.map((counts, i) => {
    const sum = counts.reduce((a, b) => a + b, 0);
    return make("tr", {}, make("th", { scope: "row", textContent: classes[i] }), ...counts.slice(0, classes.length).map((count, k) => {
      const share = sum ? count / sum : 0;
      const made = make("td", { textContent: sum ? `${Math.round(100 * share)}` : "", title: `${classes[i]} scored as ${classes[k]}: ${count} frames` });
      made.style.background = `color-mix(in srgb, ${i === k ? "var(--good)" : "var(--warn)"} ${Math.round(70 * share)}%, transparent)`;
      return made;
    }));
  });
  return make("div", { className: "scroll" }, make("table", { className: "matrix" }, make("caption", { className: "soft", textContent: "Rows: a person's class; columns: mpar's; percent of the row" }),
    make("thead", {}, make("tr", {}, make("td", {}), ...classes.map((name) => make("th", { scope: "col", textContent: name })))), make("tbody", {}, ...rows)));
}
