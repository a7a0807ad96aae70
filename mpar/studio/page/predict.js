// Predict: new videos, drift. Check: the queue, the estimate, learning again.

import { ask, button, command, counted, draw, make, panel, score, table, text, cell } from "./dom.js";
import { learnAgain } from "./learn.js";
import { openScorer } from "./videos.js";

export function drawPredict(app) {
  const { state, table: found } = app;
  const job = app.running("predict");
  const again = state.is_outdated ? ["--overwrite"] : [];
  const data = { isOutdated: state.is_outdated, videos: found.videos.map(({ name, predicted }) => [name, predicted]), drift: state.drift, run: state.in_use, isRunning: Boolean(job), problem: state.steps.predict.problem };
  draw("predict", ["all", data, () => {
    const left = found.videos.filter((video) => !video.predicted.includes(state.in_use));
    const done = found.videos.length - left.length;
    return [
      make("div", { className: "panel" }, text("h2", "Predict"),
        text("p", state.in_use ? left.length ? `${state.in_use} scores every frame of the videos that it has not scored yet: ${left.length} of ${found.videos.length}.` : `${state.in_use} has scored all videos.` : "No network has been trained yet. Learn first."),
        make("div", { className: "row" },
          button(left.length ? `Predict ${counted(left.length, "video")}` : "Predict", () => app.start("predict", again),
            { className: "main", disabled: Boolean(data.problem) || data.isRunning || !left.length, id: "predict-button" }),
          make("progress", { max: Math.max(1, found.videos.length), value: done, ariaLabel: "Videos predicted" }),
          text("span", `${done} of ${counted(found.videos.length, "video")} predicted`, "soft")),
        state.is_outdated ? text("p", "The predictions are of an older network, since this run went on after them. Predicting again replaces them.", "bad") : null,
        command(app.lines(["predict", ...again]), "predict")),
      state.drift.length ? panel("Warnings about these videos", text("p", "A video that looks other than those the network learnt from may be scored less well: check some of them by hand.", "soft"),
        make("ul", {}, ...state.drift.map((item) => make("li", {}, text("span", `${item.text}: `), text("span", shortList(item.videos), "soft"))))) : null,
      panel("Videos", table(["Video", "Scored by this network", "", ""], found.videos.map((video) => {
        const isDone = video.predicted.includes(state.in_use);
        return make("tr", {}, cell(video.name, "name"), cell(isDone ? "yes" : "not yet", isDone ? "good" : "soft"),
          cell(isDone ? button("Look at it", () => openScorer({ name: video.name }), { "aria-label": `Look at ${video.name}` }) : ""), cell(""));
      }))),
    ];
  }]);
}

const shortList = (names) => names.length > 4 ? `${names.slice(0, 4).join(", ")} and ${names.length - 4} more` : names.join(", ");

export function drawCheck(app) {
  const { state } = app;
  const { estimate } = state;
  const isPredicted = !state.steps.evaluate.problem;
  const isLearning = Boolean(app.running("preprocess", "train"));
  draw("check", ["all", { estimate, run: state.in_use, isPredicted, isLearning, since: state.num_scored_since, evaluated: state.has_evaluation, jobs: state.jobs.length }, () => [
    make("div", { className: "two" },
      panel("Correct what matters most", text("p", "The page for scoring lists the stretches that are most worth a look. Accept them or correct them; each edit is saved as a label. In a video that someone else scored, your labels take the place of theirs in the frames that you set; all other frames, and their files, stay. For a second opinion, score blind."),
        button("Open the queue", () => openScorer(), { className: "main", disabled: !isPredicted }), command(app.state.steps.review.line, "the queue")),
      panel("Learn again", text("p", `${counted(state.num_scored_since, "label file")} changed since ${state.in_use || "a network"} began to learn. Learning again reads all labels and trains a new network; the old one stays.`),
        button("Learn again with what I corrected", () => learnAgain(app), { className: "main", disabled: isLearning || !state.in_use, id: "learn-again" }),
        command(app.lines(["preprocess"], ["train", "--html"]), "learning again"))),
    make("div", { className: "two" },
      panel("How good are the predictions?", text("p", "Score stretches drawn at random, blind. From these, mpar estimates recall and precision on these very videos."),
        button("Open the estimate", () => openScorer({ is_estimate: true }), { disabled: !isPredicted }), estimate.classes ? estimateTable(estimate) : text("p", "Nothing was checked yet.", "soft"), command(state.estimate_line, "the estimate")),
      panel("Compare with all labels", text("p", "Compares predictions with every label file. Animals that the network learnt from are marked, since they flatter it."),
        button("Compare", () => app.start("evaluate", ["--html", ...(state.has_evaluation ? ["--overwrite"] : [])]), { disabled: !isPredicted }),
        state.has_evaluation ? text("p", "This replaces the comparison in results/evaluation.", "soft") : null,
        command(app.lines(["evaluate", "--html", ...(state.has_evaluation ? ["--overwrite"] : [])]), "the comparison"))),
  ]]);
}

function estimateTable(estimate) {
  return table(["Class", "#Precision", "#Recall", "#F1"], Object.entries(estimate.classes).map(([name, numbers]) =>
    make("tr", {}, cell(name), ...["precision", "recall", "f1"].map((key) => cell(score(numbers[key].estimate, numbers[key].interval), "number")))));
}
