// Results: animals and groups, bins and windows, figures, tables, and everything to take away.

import { act, ask, button, cell, command, counted, draw, link, make, panel, text } from "./dom.js";

const FIELDS = [
  { name: "bin", label: "Time bins", hint: "such as 5min", note: "Cuts the recording into pieces of this length." },
  { name: "window", label: "Windows", hint: "phase1=0-10min, phase2=10-60min", isList: true, note: "Named stretches of time, separated by commas." },
  { name: "group-by", label: "Groups by", hint: "group", isList: true, note: "Columns of the table of animals, separated by commas." },
  { name: "response", label: "Responses", hint: "as marked", isList: true, note: "With stimuli: classes that count as a response, separated by commas; by default those marked in the classes." },
  { name: "response-window", label: "Response within", hint: "0-2s", note: "With stimuli: when a response may begin." },
];
const CAPTIONS = { ethograms: "Ethograms of all recordings, by group", time_course: "Time course: mean over animals in each bin, ± SEM" };
const EXPORTS = { boris: "BORIS", deepethogram: "DeepEthogram", simba: "SimBA", annot: "MARS/Bento", nwb: "NWB", video: "Videos with what was predicted" };

export function drawResults(app) {
  const { state } = app;
  const { steps, options } = state;
  draw("results",
    ["animals", [state.in_use, app.table?.videos.length, state.drift.length], () => animalsPanel(app)],
    ["summary", [options.summarize, steps.summarize.problem, state.has_summary], () => summaryPanel(app)],
    ["figures", [state.results, state.in_use, state.summary_run, state.is_summary_old, state.jobs.filter((job) => job.is_over).length], () => figures(state)],
    ["away", [state.results, state.in_use, state.jobs.filter((job) => job.is_over).length, steps.evaluate.problem, state.has_summary], () => takeAway(app)]);
}

let unsaved = null; // the table of animals as somebody edits it

// What was typed stays when new recordings come.
async function readAnimals() {
  const found = await ask("animals");
  if (!unsaved) return found;
  found.columns = [...new Set([...found.columns, ...unsaved.columns])];
  found.digest = unsaved.digest;
  for (const typed of unsaved.rows) {
    const row = found.rows.find((item) => item.Recording === typed.Recording);
    if (row) Object.assign(row, typed);
    else found.rows.push(typed);
  }
  return (unsaved = found);
}
window.addEventListener("beforeunload", (event) => unsaved && event.preventDefault());

function animalsPanel(app) {
  const place = make("div", { id: "animals" });
  act(async () => fillAnimals(app, place, await readAnimals()), true);
  return panel("Animals and groups", text("p", "One row for each recording. Fill in the animal, its group and anything else, such as dose or sex; new columns may define groups, too."), place);
}

function fillAnimals(app, place, found) {
  const again = () => fillAnimals(app, place, found);
  const head = found.columns.map((name) => make("th", { scope: "col", textContent: name }));
  const rows = found.rows.map((row) => make("tr", {}, ...found.columns.map((name) => {
    if (name === "Recording") return cell(row[name], "name");
    const input = make("input", { type: "text", value: row[name] ?? "", "aria-label": `${name} of ${row.Recording}` });
    input.addEventListener("input", (event) => {
      event.stopPropagation(); // it counts at once, so the table may be drawn anew
      row[name] = input.value;
      unsaved = found;
    });
    return cell(input);
  })));
  const column = make("input", { type: "text", "aria-label": "Name of a new column", placeholder: "new column" });
  const file = make("input", { type: "file", accept: ".csv,.tsv,.txt,.xlsx", "aria-label": "Table of animals to import" });
  file.addEventListener("change", () => act(async () => {
    const read = await ask("animals/parse", file.files[0]);
    unsaved = { ...read, digest: found.digest };
    fillAnimals(app, place, await readAnimals());
  }));
  place.replaceChildren(make("div", { className: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))),
    make("div", { className: "row" },
      button("Save animals.csv", async () => {
        await ask("animals", { columns: found.columns, rows: found.rows, digest: found.digest });
        unsaved = null;
        fillAnimals(app, place, await readAnimals());
        return "saved animals.csv";
      }, { className: "main" }),
      column, button("Add the column", () => {
        const name = column.value.trim();
        if (!name) return;
        found.columns.push(name);
        unsaved = found;
        again();
      }), make("label", {}, "Import a table ", file)));
}

function summaryPanel(app) {
  const { state } = app;
  const fields = FIELDS.map((item) => {
    const value = state.options.summarize[item.name];
    const input = make("input", { type: "text", value: Array.isArray(value) ? value.join(", ") : value ?? "", placeholder: item.hint });
    input.addEventListener("change", () => act(() => {
      const parts = input.value.split(",").map((part) => part.trim()).filter(Boolean);
      return app.setOption("summarize", item.name, parts.length ? (item.isList ? parts : input.value.trim()) : null, input);
    }));
    input.ariaLabel = item.label;
    return make("label", {}, `${item.label} `, input, text("small", item.note));
  });
  const stimuli = make("input", { type: "file", accept: ".csv,.tsv,.txt,.xlsx" });
  stimuli.addEventListener("change", () => act(async () => {
    const { num_stimuli: count } = await ask("stimuli", stimuli.files[0]);
    return `saved ${counted(count, "row")} in stimuli.csv`;
  }));
  fields.push(make("label", {}, "Stimuli ", stimuli, text("small", "A table with Recording, Event and Start_s: what followed each stimulus.")));
  const options = ["--wide", "--xlsx", "--html", ...(state.has_summary ? ["--overwrite"] : [])];
  return make("div", { className: "panel" }, text("h2", "Numbers of the assay"), make("div", { className: "choices" }, ...fields),
    make("div", { className: "row" }, button("Compute tables and figures", () => app.start("summarize", options), { className: "main", id: "summarize-button", disabled: Boolean(state.steps.summarize.problem) }),
      text("span", state.steps.summarize.problem || (state.has_summary ? "This replaces the tables and figures in results/summary." : ""), "soft")),
    command(app.lines(["summarize", ...options]), "tables and figures"));
}

function figures({ results, in_use: run, summary_run: summarized, is_summary_old: isOld }) {
  const found = results.filter((path) => path.startsWith("results/summary/") && path.endsWith(".png"));
  if (!found.length) return null;
  const isOther = summarized && summarized !== run;
  const why = isOther ? ` The run in use is ${run}: compute them again.` : isOld ? " It has predicted again since: compute them again." : "";
  return panel("Figures", text("p", `Figures and tables are of ${summarized}.${why}`, why ? "bad" : "soft"), make("div", { className: "figures" }, ...found.map((path) => {
    const name = path.split("/").at(-1).replace(".png", "");
    const caption = CAPTIONS[name] ?? name.replaceAll("_", " ");
    const pdf = path.replace(".png", ".pdf");
    return make("figure", {}, make("img", { src: `file/${path}`, loading: "lazy", alt: caption }),
      make("figcaption", {}, `${caption}. `, results.includes(pdf) ? link(pdf, "PDF") : ""));
  })));
}

function takeAway(app) {
  const { state } = app;
  const kinds = [
    ["Tables", (path) => path.startsWith("results/summary/") && path.endsWith(".csv") && !path.includes("/prism_")],
    ["Workbook", (path) => path.endsWith(".xlsx")],
    ["Prism", (path) => path.includes("/prism_")],
    ["Reports", (path) => path.endsWith(".html")],
    ["Exports", (path) => path.startsWith("results/export_")],
    ["Archives", (path) => path.endsWith(".zip")],
  ];
  const lists = kinds.map(([title, holds]) => [title, state.results.filter(holds)]).filter(([, paths]) => paths.length);
  const kind = make("select", { "aria-label": "Format of the export" }, ...state.exports.map((name) => make("option", { value: name, textContent: EXPORTS[name] })));
  const line = make("div", {}, command(app.lines(["export", "--format", kind.value]), "the export"));
  kind.addEventListener("change", () => line.replaceChildren(command(app.lines(["export", "--format", kind.value]), "the export")));
  const paragraph = make("textarea", { readOnly: true, rows: 6, className: "wide", "aria-label": "Methods paragraph" });
  paragraph.style.width = "100%";
  act(async () => {
    paragraph.value = (await ask("methods")).text;
  }, true);
  return make("div", { className: "two" },
    panel("To take away", ...lists.map(([title, paths]) => make("details", { open: paths.length < 6 }, text("summary", `${title} (${paths.length})`),
      make("ul", {}, ...paths.map((path) => make("li", {}, link(path, path.replace("results/", ""), !path.endsWith(".html"))))))), lists.length ? null : text("p", "There is nothing yet.", "soft"),
    make("div", { className: "row" }, kind, button("Export", () => {
      const isThere = state.results.some((path) => path.startsWith(`results/export_${kind.value}/`));
      if (!isThere || confirm(`Replace the files in results/export_${kind.value}?`)) app.start("export", ["--format", kind.value, ...(isThere ? ["--overwrite"] : [])]);
    }, { disabled: Boolean(state.steps.evaluate.problem) })), line,
    make("div", { className: "row" }, button("Everything as one archive", () => app.start("studio", ["--archive"]), { disabled: !state.in_use }),
      text("span", "study, labels, network, predictions and results with checksums, without videos", "soft")),
    command(app.lines(["studio", "--archive"]), "the archive")),
    panel("For the methods of a paper", text("p", "Written from the files of the network in use; check it against what you did.", "soft"), paragraph,
      button("Copy the paragraph", () => navigator.clipboard.writeText(paragraph.value))));
}
