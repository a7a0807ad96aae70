// Videos: what each is, who scored it, what is wrong; labels, classes, animals, regions.

import { act, ask, button, byId, cell, choiceField, chooseFolder, clockText, command, counted, draw, make, openDialog, panel, redrawn, table, text } from "./dom.js";

// Open the page for scoring, at a video and a frame of it.
export async function openScorer(at = {}) {
  const { url } = await ask("review", at);
  window.open(url, "_blank", "noopener");
}

// an image without a picture, which browsers do not take for a broken one
const NO_PICTURE = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>";

export function drawVideos(app) {
  const { table: found } = app;
  draw("videos",
    ["actions", [found.videos.length, found.is_reading, app.state.options.review, app.state.options.preprocess], () => make("div", { className: "panel" },
      make("div", { className: "row" }, text("h2", counted(found.videos.length, "video")),
        text("span", found.is_reading ? "reading files …" : "", "soft")),
      make("div", { className: "row" }, button("Add a folder of videos", () => addFolder(app)),
        button("Import labels", () => openImport(app)), button("Classes and keys", () => openClasses(app)),
        button("Check all files", () => app.start("preprocess", ["--check"]), { title: "Decodes every video and lists what is wrong" })),
      command(app.lines(["preprocess", "--check"]), "check all files"),
      scorer(app), labelOptions(app))],
    ["table", found, () => found.videos.length ? panel("", videoTable(found)) : panel("", text("p", "There is no video in the folders of this study."))],
    ["animals", found.pattern, () => animalsPanel(app)],
    ["problems", found.problems, () => found.problems.length ? panel("Problems of other files", problemList(found.problems)) : null]);
}

const LABELS = [
  { of: "preprocess", name: "label-offset", label: "First row of short files", isNumber: true, least: 0, hint: "none", note: "Frame of the first row of label files with fewer rows than their video has frames; without it, such files are a problem." },
  { of: "preprocess", name: "unscored", label: "Where nothing was scored", hint: "no class", note: "Class of frames in which another program, such as BORIS, scored no behaviour; mpar learns nothing from frames without a class." },
];

// What the advice on label files with missing rows names; most studies need none of it.
function labelOptions(app) {
  const isSet = LABELS.some(({ of, name }) => (app.state.options[of][name] ?? null) !== null);
  return make("details", { open: isSet }, text("summary", "Label files that lack rows: --label-offset, --unscored"),
    make("div", { className: "choices" }, ...LABELS.map((choice) => choiceField(app, choice))));
}

// Who scores, and whether they see what others scored.
function scorer(app) {
  const { annotator, blind } = app.state.options.review;
  const who = make("input", { type: "text", value: annotator ?? "", placeholder: "your login name" });
  who.addEventListener("change", () => act(() => app.setOption("review", "annotator", who.value.trim() || null, who)));
  const hides = make("input", { type: "checkbox", checked: Boolean(blind) });
  hides.addEventListener("change", () => act(() => app.setOption("review", "blind", hides.checked || null, hides)));
  return make("div", {}, make("div", { className: "row" }, make("label", {}, "Who scores ", who),
    make("label", {}, hides, " Blind: hide predictions and what others scored. Only that is a second opinion; otherwise your labels take the place of theirs.")),
  command(app.lines(["review"]), "scoring"));
}

function videoTable(found) {
  return table(["", "Video and its problems", "#Length", "#Rate", "#Size in px", "Animal", "Scored by", "Predicted by"],
    found.videos.map((video) => {
      const row = make("tr", {},
        cell(make("img", { className: "thumb", loading: "lazy", alt: "", src: video.has_picture ? `picture?id=${encodeURIComponent(video.id)}` : NO_PICTURE })),
        make("td", {}, text("div", video.name, "name"), text("small", video.folder, "soft"), make("div", { className: "row small" },
          button("Score", () => openScorer({ name: video.name }), { "aria-label": `Score ${video.name}` }),
          button("Regions", () => openScorer({ name: video.name, regions: true }), { "aria-label": `Draw regions of ${video.name}` })),
        video.problems.length ? problemList(video.problems) : null),
        cell(video.seconds === undefined ? "" : clockText(video.seconds), "number"),
        cell(video.fps === undefined ? "" : `${video.fps} /s`, "number"), cell(video.size, "number"),
        cell(video.animal || "not found", video.animal ? "animal" : "animal bad"), cell(scoredText(video)),
        predictedCell(video.predicted));
      row.dataset.video = video.name;
      return row;
    }));
}

// The newest run, and how many older ones there are.
function predictedCell(runs) {
  if (!runs.length) return cell("no", "soft");
  const made = cell(`${runs.at(-1).replace("run_", "")}${runs.length > 1 ? ` and ${runs.length - 1} more` : ""}`, "runs");
  made.title = runs.join("\n");
  return made;
}

function scoredText(video) {
  if (!video.scored.length) return text("span", "nobody yet", "soft");
  return make("div", {}, ...video.scored.map(({ name, animal, corrects, num_frames: count }) => {
    const share = video.num_frames ? Math.min(100, Math.round((100 * count) / video.num_frames)) : null;
    return text("div", `${animal ? `${animal}: ` : ""}${name}${share === null ? "" : ` ${share} %`}${corrects.length ? ", corrects" : ""}`);
  }));
}

export function problemList(problems) {
  return make("ul", { className: "bad" }, ...problems.map((problem) =>
    make("li", {}, `${problem.file}${problem.line ? `:${problem.line}` : ""}: ${problem.text} `, text("code", problem.code))));
}

// The pattern is tried as somebody types; the table below shows what it finds.
function animalsPanel(app) {
  const input = make("input", { type: "text", value: app.table.pattern, placeholder: "such as m\\d+", id: "pattern" });
  const result = text("output", patternText(app.table.videos.map((video) => video.animal)), "soft");
  let turn = 0;
  input.addEventListener("input", () => act(async () => {
    const mine = ++turn;
    const { animals } = await ask("pattern", { pattern: input.value });
    if (mine !== turn) return;
    for (const row of byId("videos").querySelectorAll("tr[data-video]")) {
      const video = app.table.videos.find((item) => item.name === row.dataset.video);
      const place = row.querySelector(".animal");
      place.textContent = animals[video.id] || "not found";
      place.classList.toggle("bad", !animals[video.id]);
    }
    result.textContent = patternText(Object.values(animals));
  }));
  return panel("Animals", text("p", "Recordings of one animal are never both learnt from and tested. Say where its name stands in the file names; without a pattern, each video counts as one animal."),
    make("div", { className: "row" }, make("label", {}, "Pattern ", input),
      button("Save the pattern", () => app.setOption("preprocess", "group-pattern", input.value.trim() || null, input)), result));
}

function patternText(animals) {
  const known = animals.filter(Boolean);
  const lost = animals.length - known.length;
  return `finds ${counted(new Set(known).size, "animal")}${lost ? `; none in ${counted(lost, "video")}` : ""}`;
}

const addFolder = (app) => chooseFolder("A further folder of videos", app.state.folder, async (path) => {
  await ask("video-folders", { folders: [...app.table.folders, path] });
  await app.look();
});

// Label files: handed over, shown with what they hold, and copied when somebody says so.
async function openImport(app) {
  await ask("import/clear", {});
  const list = make("div", { id: "import-list" });
  const send = async (files) => {
    const refused = [];
    for (const file of files) {
      try {
        await ask(`import?name=${encodeURIComponent(file.name)}`, file);
      } catch (error) {
        refused.push(error.message);
      }
    }
    await show(refused);
  };
  const show = async (refused) => {
    const { files } = await ask("import");
    const boxes = new Map(files.map((file) => [file.name, make("input", { type: "checkbox", checked: file.can_copy, disabled: !file.can_copy, "aria-label": `Copy ${file.name}` })]));
    const chosen = () => [...boxes].filter(([, box]) => box.checked).map(([name]) => name);
    list.replaceChildren(
      ...(files.length ? [table(["", "File", "Format", "Belongs to", "Problems"], files.map((file) => make("tr", {}, cell(boxes.get(file.name)), cell(file.name, "name"),
        cell(file.format || "no labels"),
        cell(make("div", {}, ...file.matches.map((item) => text("div", `${item.video}: ${counted(item.count, item.unit.slice(0, -1))}`)), file.matches.length ? "" : "no video of this study")),
        cell(make("div", { className: "bad" }, ...file.problems.map((line) => text("div", line)), text("div", STANDS[file.state]))))))] : []),
      ...refused.map((line) => text("p", line, "bad")),
      ...(files.length ? [make("div", { className: "row" }, button("Copy to Annotations", async () => {
        const { copied } = await ask("import/copy", { names: chosen() });
        close();
        await app.look();
        return `copied ${counted(copied.length, "file")} to Annotations`;
      }, { className: "main", disabled: !files.some((file) => file.can_copy) }))] : []));
  };
  const pick = make("input", { type: "file", multiple: true, "aria-label": "Label files" });
  const folder = make("input", { type: "file", multiple: true, webkitdirectory: true, "aria-label": "Folder of label files" });
  for (const input of [pick, folder]) input.addEventListener("change", () => act(() => send(input.files)));
  const drop = make("div", { className: "drop" }, text("p", "Drop label files here"),
    make("div", { className: "row" }, make("label", {}, "Files ", pick), make("label", {}, "Folder ", folder)));
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    act(() => send(event.dataTransfer.files));
  });
  const close = openDialog("Import labels", [
    text("p", "mpar recognises the format of each file and the videos that it belongs to. Nothing is copied before you say so, and nothing in Annotations is replaced."),
    drop, list, make("div", { className: "row" }, button("Close", () => close()))]);
}

const STANDS = {
  new: "", same: "is in Annotations already, with the same content", taken: "another file of this name is in Annotations; rename this one",
};

// The table of classes. The order gives each class its key and its colour.
async function openClasses(app) {
  const found = await ask("classes");
  let rows = found.rows;
  const undone = []; // the rows before each change, the last one last
  const body = make("tbody", {});
  const change = (work) => {
    undone.push(JSON.stringify(rows));
    work();
    setTimeout(() => redrawn(body, fill)); // once the key that ended the input has moved the focus
  };
  const undo = () => {
    if (undone.length) rows = JSON.parse(undone.pop());
    redrawn(body, fill);
  };
  const field = (row, k, key, label) => {
    const input = make("input", { type: key === "code" ? "number" : "text", defaultValue: row[key], maxLength: 60, ariaLabel: `${label}, row ${k + 1}` });
    input.addEventListener("change", () => change(() => {
      row[key] = input.value.trim();
      // what a class is, its first row says
      const alike = rows.find((other) => other !== row && other.class === row.class);
      if (key === "class" && alike) Object.assign(row, { response: alike.response, mirror: alike.mirror });
    }));
    return cell(input);
  };
  function fill() {
    const names = [...new Set(rows.map((row) => row.class))];
    body.replaceChildren(...rows.map((row, k) => {
      const place = names.indexOf(row.class);
      const chip = make("span", { className: "chip" });
      if (found.looks[place]) chip.style.background = found.looks[place].color;
      const response = make("input", { type: "checkbox", checked: row.response === "yes", ariaLabel: `Is a response, row ${k + 1}` });
      response.addEventListener("change", () => change(() => {
        for (const other of rows) if (other.class === row.class) other.response = response.checked ? "yes" : "";
      }));
      const key = make("select", { ariaLabel: `Key and colour, row ${k + 1}` }, ...names.map((_, i) =>
        make("option", { value: i, selected: i === place, textContent: found.looks[i]?.key ?? i + 1 })));
      key.addEventListener("change", () => change(() => {
        names.splice(Number(key.value), 0, ...names.splice(place, 1));
        rows = names.flatMap((name) => rows.filter((other) => other.class === name));
      }));
      return make("tr", {}, field(row, k, "code", "Code"), field(row, k, "name", "Name"), field(row, k, "class", "Class"), cell(response),
        make("td", {}, chip, " ", key), field(row, k, "mirror", "Mirror image"),
        cell(button("Remove", () => change(() => {
          rows = rows.filter((other) => other !== row);
        }), { ariaLabel: `Remove row ${k + 1}` })));
    }));
  }
  fill();
  const wrong = text("p", "", "bad");
  const maySkip = () => !undone.length || confirm("Close without saving the changes?");
  const close = openDialog("Classes and keys", [
    text("p", "A code is what label files hold; rows of one class count as one. A key brings its colour with it, in figures, too: both follow the order of the classes. Responses, such as those of pain, come first in reports. Networks keep the classes that they learnt."),
    make("div", { className: "scroll" }, make("table", { id: "class-table" },
      make("thead", {}, make("tr", {}, ...["Code", "Name", "Class", "Response", "Key", "Mirror image", ""].map((title) => make("th", { scope: "col", textContent: title })))), body)),
    wrong,
    make("div", { className: "row" }, button("Add a row", () => change(() => {
      const codes = rows.map((row) => Number(row.code));
      rows.push({ code: Math.max(-1, ...codes) + 1, name: "", class: "", mirror: "", response: "" });
    })), button("Undo", undo), button("Save classes.csv", async () => {
      try {
        await ask("classes", { rows, digest: found.digest });
        close();
        await app.look();
      } catch (error) {
        wrong.textContent = error.message;
      }
    }, { className: "main" }), button("Cancel", () => maySkip() && close()))], maySkip);
  body.addEventListener("keydown", (event) => {
    const isTyping = event.target.type === "text" && event.target.value !== event.target.defaultValue;
    if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || isTyping) return;
    event.preventDefault();
    undo();
  });
}
