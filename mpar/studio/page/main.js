// The window of a study. It asks what is there every second, and draws what has changed.

import { act, ask, button, byId, chooseFolder, command, counted, draw, make, openDialog, text, timeText } from "./dom.js";
import { drawCheck, drawPredict } from "./predict.js";
import { drawLearn } from "./learn.js";
import { drawResults } from "./results.js";
import { drawVideos, openScorer } from "./videos.js";

const SCREENS = { videos: "Videos", score: "Score", learn: "Learn", predict: "Predict", check: "Check", results: "Results", jobs: "Jobs" };
const STATES = {
  waiting: "waits", running: "runs", done: "done", problems: "done; some files were left out", failed: "failed",
  stopped: "stopped", broken: "ended unexpectedly", dropped: "not started, since the job before failed",
};
const TITLES = { preprocess: "Read videos and labels", train: "Learn", predict: "Predict", evaluate: "Compare with labels",
  summarize: "Summarize", export: "Export", studio: "Archive" };

// What the screens may use: the newest state, the videos, and what changes things.
const app = {
  state: null,
  table: null, // of the videos
  look,
  // Start a job; return its number.
  async start(name, options = [], after = undefined) {
    const { number } = await ask("job", { command: name, options, after });
    await look();
    return number;
  },
  // Save an option; if it is refused, its field shows again what holds.
  async setOption(of, name, value, field) {
    try {
      await ask("option", { command: of, name, value });
    } catch (error) {
      field.value = [app.state.options[of][name] ?? ""].flat().join(", ");
      throw error;
    }
    await look();
  },
  // Commands as people type them, one after another; the options need no quotes.
  lines(...parts) {
    return parts.map(([name, ...options]) => [app.state.steps[name].line, ...options].join(" ")).join(" && ");
  },
  running(...names) {
    const open = app.state.jobs.filter((job) => !job.is_over && names.includes(job.command));
    return open.find((job) => job.state === "running") ?? open.at(-1);
  },
};
globalThis.studio = app; // for tests and for the browser's console

function screen() {
  const name = location.hash.slice(2); // "#/learn" is no place on the page to scroll to
  return name in SCREENS ? name : "videos";
}

function showScreen() {
  for (const link of byId("screens").children) {
    if (link.dataset.screen === screen()) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const isHome = !app.state?.folder;
  byId("start").hidden = !isHome;
  byId("screens").hidden = isHome;
  for (const part of document.querySelectorAll(".screen")) part.hidden = isHome || part.id !== screen();
  if (!isHome) drawScreen();
}

function drawScreen() {
  const { state, table } = app;
  const name = screen();
  if (name === "videos" && table) drawVideos(app);
  if (name === "learn" && table) drawLearn(app);
  if (name === "predict" && table) drawPredict(app);
  if (name === "check") drawCheck(app);
  if (name === "results") drawResults(app);
  if (name === "jobs") draw("jobs", ["all", state.jobs, () => drawJobs(state.jobs)]);
}

Object.keys(SCREENS).forEach((name, k) => {
  const item = make("a", { href: `#/${name}` }, text("kbd", String(k + 1)), SCREENS[name]);
  item.dataset.screen = name;
  if (name === "score") item.addEventListener("click", (event) => {
    event.preventDefault();
    act(() => openScorer());
  });
  byId("screens").append(item);
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea, dialog");
  if (isTyping || event.ctrlKey || event.altKey || event.metaKey || !app.state?.folder) return;
  byId("screens").children[Number(event.key) - 1]?.click();
});

function progressOf(job) {
  const now = job.progress;
  if (job.state !== "running" || !now) return [];
  const bar = make("progress", now.total ? { max: now.total, value: now.done } : {}, "");
  bar.setAttribute("aria-label", `Progress of job ${job.number}`);
  const left = now.left_s === null ? "" : `, about ${timeText(now.left_s)} left`;
  const rate = now.elapsed_s ? `, ${Math.round(now.done / now.elapsed_s).toLocaleString("en")} ${now.unit}s/s` : "";
  const share = `${now.done.toLocaleString("en")} of ${now.total?.toLocaleString("en") ?? "?"} ${now.unit}s`;
  return [bar, text("span", `${now.stage} ${share}${left}${rate}${now.note ? `; ${now.note}` : ""}`, "soft")];
}

function stopOf(job) {
  return button("Stop", async () => {
    await ask("stop", { number: job.number });
    await look();
  }, { "aria-label": `Stop job ${job.number}, ${TITLES[job.command]}` });
}

// What to know of a job besides its state: of one that is done, nothing.
function wordsOf(job) {
  if (job.state === "done") return "";
  if (job.state !== "stopped") return job.text;
  return job.command === "train" ? "What was learnt is saved; Learn goes on with it." : "What was finished is kept.";
}

function drawJobs(jobs) {
  return make("div", { className: "panel" }, text("h2", "Jobs"),
    text("p", jobs.length ? "Jobs run one after another, and go on if you close this page or mpar-studio." : "Nothing was started yet.", "soft"),
    make("ul", { className: "plain", id: "job-list" }, ...jobs.map((job) => {
      const state = make("span", { className: "state", textContent: STATES[job.state] });
      state.dataset.state = job.state;
      const showLog = async () => {
        const lines = (await ask(`log?number=${job.number}`)).lines.join("\n");
        const close = openDialog(`Job ${job.number}: ${TITLES[job.command]}`,
          [make("pre", { tabIndex: 0, textContent: lines || "nothing" }), button("Close", () => close())]);
      };
      const log = button("What it said", showLog, { "aria-label": `What job ${job.number} said` });
      const warnings = job.is_over && job.num_warnings > 0 && button(counted(job.num_warnings, "warning"), showLog,
        { className: "bad", "aria-label": `${counted(job.num_warnings, "warning")} of job ${job.number}` });
      const again = job.is_over && job.state !== "done" && job.command !== "train" && button("Start again",
        () => app.start(job.command, job.arguments), { "aria-label": `Start job ${job.number} again` });
      return make("li", {}, make("div", { className: "row" }, text("strong", `${job.number}. ${TITLES[job.command]}`), state,
        warnings, log, !job.is_over && stopOf(job), again), ...progressOf(job),
      text("div", wordsOf(job), "soft"), command(job.line, `job ${job.number}`));
    })));
}

function drawNow(jobs) {
  const job = jobs.find((item) => item.state === "running");
  const numWaiting = jobs.filter((item) => item.state === "waiting").length;
  const last = jobs.find((item) => item.is_over && item.state !== "dropped");
  const failed = !job && last && ["failed", "broken"].includes(last.state) ? last : null;
  if (job) return [text("strong", TITLES[job.command]), ...progressOf(job), stopOf(job), numWaiting ? text("span", `${numWaiting} waiting`, "soft") : null];
  if (failed) return [text("strong", `${TITLES[failed.command]}: ${STATES[failed.state]}`, "bad"), text("span", failed.text, "bad"),
    make("a", { href: "#/jobs", textContent: "Jobs" })];
  return numWaiting ? [text("span", "A job is about to start", "soft")] : [];
}

function drawMoved(missing) {
  return missing.map((folder) => make("div", { className: "panel" },
    text("p", `${folder} is not there. Labels, networks and results are untouched.`),
    make("div", { className: "row" }, button("Choose where they are", () => chooseFolder("Where are the videos?", app.state.folder, async (path) => {
      const found = await ask("look-in", { folder: path });
      const same = found.num_known ? `${found.num_found} of ${found.num_known} videos of the study are recognised by their content` : "the study has not read its videos yet, so only their names can be compared";
      const close = openDialog("Use this folder?", [text("p", `${counted(found.num_videos, "video")} in ${path}; ${same}.`),
        ...found.renamed.map(([was, now]) => text("p", `${was} is called ${now} there; label files belong to names, so rename it back`, "bad")),
        make("div", { className: "row" }, button("Use it", async () => {
          const others = app.table.folders.filter((item) => item !== folder);
          await ask("video-folders", { folders: [...others, path] });
          close();
          await look();
        }, { className: "main" }), button("Cancel", () => close()))]);
    }), { className: "main" }))));
}

// An answer that is older than what is shown is dropped.
let numLooks = 0;
let lookShown = 0;
async function look() {
  const number = ++numLooks;
  const state = await ask("state").catch((error) => {
    // a study that cannot be read: say so in place of what cannot be shown
    byId("broken-text").textContent = error.message;
    byId("broken").hidden = false;
    throw error;
  });
  if (number < lookShown) return;
  lookShown = number;
  byId("broken").hidden = true;
  const before = app.state;
  app.state = state;
  if (state.folder) {
    document.title = `${state.name} - mpar-studio`;
    byId("name").textContent = state.name;
    byId("name").title = state.folder;
    if (!app.table || state.revision !== app.table.revision || app.table.is_reading || before?.in_use !== state.in_use) {
      const found = await ask("videos");
      if (!app.table || found.revision >= app.table.revision) app.table = found;
      if (number < lookShown) return;
    }
    draw("now", ["job", state.jobs, () => drawNow(state.jobs)]);
    byId("now").hidden = !byId("now-job").hasChildNodes();
    byId("moved").hidden = !state.missing.length;
    draw("moved", ["list", state.missing, () => drawMoved(state.missing)]);
  } else fillStart(state);
  showScreen();
  document.body.dataset.ready = "yes";
}

let isFilled = false;
function fillStart({ home }) {
  if (isFilled) return;
  isFilled = true;
  const join = (name) => home + (home.includes("\\") ? "\\" : "/") + name;
  byId("demo-folder").value = join("mpar-demo");
  byId("new-folder").value = join("Study");
  const on = (id, work) => byId(id).addEventListener("click", () => act(work));
  const browse = (id, title, then) => () => chooseFolder(title, byId(id).value || home, (path, found) => {
    byId(id).value = path;
    then?.(path, found);
  });
  on("browse-videos", browse("new-videos", "Folder of videos"));
  on("browse-study", browse("open-folder", "Folder of the study"));
  on("make-demo", () => enter({ folder: byId("demo-folder").value.trim(), is_demo: true }));
  on("make-study", () => enter({ folder: byId("new-folder").value.trim(), videos: [byId("new-videos").value.trim()] }));
  on("open-study", () => enter({ folder: byId("open-folder").value.trim() }));
}

async function enter(body) {
  await ask("open", body);
  await look();
}

window.addEventListener("hashchange", showScreen);

async function keepLooking() {
  await act(look, true);
  setTimeout(keepLooking, 1000);
}
keepLooking();
