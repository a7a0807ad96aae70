// The window of a study. It asks what is there every second, and draws what has changed.

const STEPS = [
  {
    command: "review", title: "Score", button: "Open the page for scoring",
    text: "Score videos by keyboard, or correct predictions.",
  },
  {
    command: "preprocess", title: "Preprocess", button: "Preprocess",
    text: "Read videos and label files, and check them.",
    fields: [{ option: "size", label: "Size in px", type: "text", hint: "as filmed" }],
  },
  {
    command: "train", title: "Learn", button: "Learn",
    text: "Train a network on most animals, and test it on the others.",
    fields: [
      { option: "minutes", label: "Minutes", type: "number", hint: "no limit" },
      { option: "model", label: "Network", choices: ["", "auto", "standard", "fast"] },
    ],
  },
  {
    command: "predict", title: "Predict", button: "Predict",
    text: "Score all videos with the network in use. What is there already is kept.",
  },
  {
    command: "evaluate", title: "Check", button: "Compare with labels",
    text: "Compare predictions with the label files of the study.",
  },
  {
    command: "summarize", title: "Summarize", button: "Summarize",
    text: "Compute the numbers of the assay, by animal and group.",
    fields: [{ option: "bin", label: "Bins", type: "text", hint: "such as 5min" }],
  },
];
const STATES = {
  waiting: "waits", running: "runs", done: "done", problems: "done, with problems",
  failed: "failed", stopped: "stopped", broken: "ended without a word",
};
const byId = (id) => document.getElementById(id);

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("mpar-studio does not answer");
  }
  const data = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(data.error ?? `${response.status} ${response.statusText}`);
  return data;
}

async function act(work) {
  try {
    await work();
    byId("message").textContent = "";
  } catch (error) {
    byId("message").textContent = error.message;
  }
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Draws a list again only if what it shows has changed, so that the focus stays.
const drawn = new Map();
function draw(id, data, make) {
  const key = JSON.stringify(data);
  if (drawn.get(id) === key) return;
  drawn.set(id, key);
  byId(id).replaceChildren(...data.map(make));
}

function makeStep(step) {
  const line = element("code");
  const inputs = (step.fields ?? []).map((field) => {
    const input = field.choices
      ? element("select", {}, ...field.choices.map((choice) =>
        element("option", { value: choice, textContent: choice || "usual" })))
      : element("input", { type: field.type, placeholder: field.hint, min: 1 });
    input.addEventListener("input", show);
    return { field, input };
  });
  const options = () => inputs.filter(({ input }) => input.value.trim())
    .flatMap(({ field, input }) => [`--${field.option}`, input.value.trim()]);
  const button = element("button", { type: "button", className: "main", textContent: step.button });
  const copy = element("button", { type: "button", textContent: "Copy" });
  copy.setAttribute("aria-label", `Copy the command of ${step.title}`);
  const reason = element("p", { className: "soft" });
  let base = "";
  function show() {
    line.textContent = [base, ...options().map(quoted)].join(" ");
  }
  copy.addEventListener("click", () => act(() => navigator.clipboard.writeText(line.textContent)));
  button.addEventListener("click", () => act(async () => {
    if (step.command === "review") {
      window.open((await ask("review", {})).url, "_blank", "noopener");
    } else {
      await ask("job", { command: step.command, options: options() });
      await look();
    }
  }));
  const item = element("li", {}, element("h3", { textContent: step.title }),
    element("p", { textContent: step.text }), reason,
    element("div", { className: "row" }, ...inputs.map(({ field, input }) =>
      element("label", { textContent: `${field.label} ` }, input)), button),
    element("div", { className: "row" }, line, copy));
  byId("steps").append(item);
  return (state) => {
    base = state.line;
    reason.textContent = state.problem;
    reason.hidden = !state.problem;
    button.disabled = Boolean(state.problem);
    show();
  };
}

function makeJob(job) {
  const state = element("span", { className: "state", textContent: STATES[job.state] });
  state.dataset.state = job.state;
  const log = element("button", { type: "button", textContent: "What it said" });
  log.addEventListener("click", () => act(async () => {
    byId("log-text").textContent = (await ask(`log?number=${job.number}`)).lines.join("\n");
    byId("log").showModal();
  }));
  const item = element("li", {}, element("div", { className: "row" },
    element("strong", { textContent: `${job.number}. ${job.command}` }), state, log));
  if (!job.is_over) {
    const stop = element("button", { type: "button", textContent: "Stop" });
    stop.setAttribute("aria-label", `Stop job ${job.number}, ${job.command}`);
    stop.addEventListener("click", () => act(async () => {
      await ask("stop", { number: job.number });
      await look();
    }));
    item.firstChild.append(stop);
  }
  const now = job.progress;
  if (job.state === "running" && now) {
    const bar = element("progress", now.total ? { max: now.total, value: now.done } : {});
    bar.setAttribute("aria-label", `Progress of job ${job.number}`);
    const left = now.left_s === null ? "" : `, about ${timeText(now.left_s)} left`;
    item.append(bar, element("div", { className: "soft",
      textContent: `${now.stage} ${now.done} of ${now.total ?? "?"} ${now.unit}s${left}; ${now.note}` }));
  } else if (job.text) {
    item.append(element("div", { className: "soft", textContent: job.text }));
  }
  item.append(element("code", { className: "soft", textContent: job.line }));
  return item;
}

function quoted(text) {
  return /^[\w.,:=+@/-]+$/.test(text) ? text : `"${text}"`;
}

function timeText(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function makeVideo(video) {
  return element("tr", {}, element("td", { textContent: video.name }),
    element("td", { className: "soft", textContent: video.folder }),
    element("td", { textContent: video.num_labels || "none" }),
    element("td", { textContent: video.is_predicted ? "yes" : "no" }));
}

function makeRun(run) {
  const input = element("input", { type: "radio", name: "run", checked: run.is_in_use });
  input.addEventListener("change", () => act(async () => {
    await ask("use", { run: run.name });
    await look();
  }));
  const row = element("div", { className: "row" },
    element("label", {}, input, ` ${run.name}${run.is_in_use ? " (in use)" : ""}`));
  if (run.report) row.append(linkTo(run.report, "scores"));
  return row;
}

function linkTo(path, text = path) {
  const address = `file/${path.split("/").map(encodeURIComponent).join("/")}`;
  return element("a", { href: address, target: "_blank", rel: "noopener", textContent: text });
}

const steps = STEPS.map((step) => ({ step, update: makeStep(step) }));

async function look() {
  const state = await ask("state");
  document.title = `${state.name} - mpar-studio`;
  byId("name").textContent = state.name;
  byId("folder").textContent = state.folder;
  for (const { step, update } of steps) update(state.steps[step.command]);
  draw("jobs", state.jobs, makeJob);
  draw("runs", state.runs, makeRun);
  draw("results", state.results, (path) => element("li", {}, linkTo(path)));
  byId("no-jobs").hidden = state.jobs.length > 0;
  byId("no-runs").hidden = state.runs.length > 0;
  byId("runs-part").hidden = state.runs.length === 0;
  byId("no-results").hidden = state.results.length > 0;
  await lookAtVideos(state.jobs.filter((job) => job.is_over).length);
  document.body.dataset.ready = "yes";
}

// Listing folders takes a while, so it is done every ten seconds, and when a job has ended.
let videosAt = 0;
let numOver = -1;
async function lookAtVideos(numNow) {
  if (numNow === numOver && Date.now() < videosAt + 10000) return;
  [numOver, videosAt] = [numNow, Date.now()];
  const { videos, problems } = await ask("videos");
  draw("videos", videos, makeVideo);
  draw("problems", problems, (text) => element("li", { textContent: text }));
  byId("num-videos").textContent = `(${videos.length})`;
  byId("problems-part").hidden = problems.length === 0;
}

async function keepLooking() {
  await act(look);
  setTimeout(keepLooking, 1000);
}
keepLooking();
