// What the screens share: asking the server, making elements, drawing only what has changed.

export const byId = (id) => document.getElementById(id);

export async function ask(path, body) {
  const isFile = body instanceof Blob;
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": isFile ? "application/octet-stream" : "application/json" },
    body: isFile ? body : JSON.stringify(body),
  };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("mpar-studio does not answer; start it again");
  }
  const data = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(data.error ?? `${response.status} ${response.statusText}`);
  return data;
}

// Do something; the text that it returns, or what goes wrong, is shown until the next thing is done.
// What the page does by itself takes away its own messages only.
export async function act(work, isOwn = false) {
  const place = byId("message");
  try {
    const found = await work();
    if (isOwn && !place.dataset.own) return;
    place.textContent = typeof found === "string" ? found : "";
    place.className = "";
  } catch (error) {
    place.textContent = error.message;
    place.className = "bad";
  }
  place.dataset.own = isOwn ? "yes" : "";
}

// Make an element; keys with a dash are attributes, `on...` are listeners.
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "colspan" || name === "scope") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const text = (tag, content, className = "") => make(tag, { textContent: content, className });

// A button does nothing as long as it does what the last click asked for.
export function button(label, onclick, properties = {}) {
  let isBusy = false;
  return make("button", { type: "button", textContent: label, onclick: async () => {
    if (isBusy) return;
    isBusy = true;
    await act(onclick);
    isBusy = false;
  }, ...properties });
}

// The field of an option of a command.
export function choiceField(app, choice) {
  const value = app.state.options[choice.of][choice.name];
  const save = (next) => act(() => app.setOption(choice.of, choice.name, next, input));
  let input;
  if (choice.isFlag) {
    input = make("input", { type: "checkbox", checked: Boolean(value) });
    input.addEventListener("change", () => save(input.checked ? true : null));
  } else if (choice.values) {
    input = make("select", {}, ...choice.values.map((item) => make("option", { value: item, textContent: item || "usual", selected: (value ?? "") === item })));
    input.addEventListener("change", () => save(input.value || null));
  } else {
    input = make("input", { type: choice.isNumber ? "number" : "text", min: choice.least ?? 1, value: value ?? "", placeholder: choice.hint });
    input.addEventListener("change", () => save(input.value.trim() ? (choice.isNumber ? Number(input.value) : input.value.trim()) : null));
  }
  input.ariaLabel = choice.label;
  return make("label", {}, `${choice.label} `, input, text("small", choice.note));
}

export function panel(title, ...children) {
  return make("div", { className: "panel" }, title && text("h3", title), ...children);
}

// Draw something anew; the focus stays on the element with the same label.
export function redrawn(place, work) {
  const label = place.contains(document.activeElement) && (document.activeElement.ariaLabel || document.activeElement.textContent);
  work();
  if (label) [...place.querySelectorAll("button, input, select, a")].find((item) => (item.ariaLabel || item.textContent) === label)?.focus();
}

// Draw the parts of a place, each again only if what it shows has changed, so that what somebody
// types stays. A part is [name, data, fill].
const drawn = new Map();
let pressed = null; // a click needs its button from press to release
for (const name of ["pointerdown", "pointerup", "pointercancel"]) {
  addEventListener(name, (event) => { pressed = name === "pointerdown" ? event.target : null; }, true);
}
let typed = null; // where somebody types, until it counts
addEventListener("input", (event) => { typed = event.target; });
for (const name of ["change", "focusout"]) addEventListener(name, () => { typed = null; }, true);
export function draw(id, ...parts) {
  for (const [name, data, fill] of parts) {
    const place = byId(`${id}-${name}`) ?? byId(id).appendChild(make("div", { id: `${id}-${name}`, className: "part" }));
    const key = JSON.stringify(data);
    if (drawn.get(place.id) === key || place.contains(pressed) || place.contains(typed)) continue;
    redrawn(place, () => place.replaceChildren(...[fill()].flat().filter(Boolean)));
    drawn.set(place.id, key);
  }
}

// A command as text, with a button that copies it.
export function command(line, of) {
  const copy = button("Copy", () => navigator.clipboard.writeText(line), { "aria-label": `Copy the command: ${of}` });
  return make("div", { className: "command" }, text("code", line), copy);
}

// Titles that begin with # stand above numbers.
export function table(head, rows, properties = {}) {
  const cells = head.map((title) => make("th", { scope: "col", textContent: title.replace("#", ""), className: title.startsWith("#") ? "number" : "" }));
  return make("div", { className: "scroll" }, make("table", properties,
    make("thead", {}, make("tr", {}, ...cells)), make("tbody", {}, ...rows)));
}

export const cell = (content, className = "") => content instanceof Node
  ? make("td", { className }, content) : text("td", content ?? "", className);

export function link(path, label = path, isDownload = false) {
  const address = `file/${path.split("/").map(encodeURIComponent).join("/")}${isDownload ? "?download=1" : ""}`;
  return make("a", { href: address, target: "_blank", rel: "noopener", textContent: label });
}

export function timeText(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export function clockText(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export const score = (value, ends) => value === null || value === undefined ? "n/a"
  : `${value.toFixed(2)}${ends ? ` [${ends[0].toFixed(2)}, ${ends[1].toFixed(2)}]` : ""}`;

export function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

// Open the dialog with a title; return a function that closes it. Escape closes it, too, if
// `mayClose` (by default, always) says so.
let mayCloseDialog = () => true;
byId("dialog").addEventListener("cancel", (event) => {
  document.activeElement.blur(); // what is typed there counts
  if (!mayCloseDialog()) event.preventDefault();
});
export function openDialog(title, children, mayClose = () => true) {
  const dialog = byId("dialog");
  mayCloseDialog = mayClose;
  byId("dialog-title").textContent = title;
  byId("dialog-body").replaceChildren(...children);
  if (!dialog.open) dialog.showModal();
  return () => dialog.close();
}

// Let somebody choose a folder; `onChoose(path, found)`.
export async function chooseFolder(title, start, onChoose) {
  const found = await ask(`folders?path=${encodeURIComponent(start)}`);
  const go = (path) => chooseFolder(title, path, onChoose);
  const join = (name) => found.path.endsWith(found.separator) ? found.path + name : found.path + found.separator + name;
  const input = make("input", { type: "text", className: "wide", value: found.path, "aria-label": "Path of the folder" });
  input.addEventListener("change", () => act(() => go(input.value.trim())));
  const note = [found.num_videos ? counted(found.num_videos, "video") : "no video", found.is_study ? "a study" : ""];
  const close = openDialog(title, [input,
    make("div", { className: "row" }, button("Folder above", () => go(found.parent)),
      ...found.drives.map((drive) => button(drive, () => go(drive))),
      text("span", `directly in it: ${note.filter(Boolean).join(", ")}`, "soft")),
    make("div", { className: "folders" }, ...found.folders.map((name) =>
      make("div", {}, button(name, () => go(join(name))))),
    found.num_more ? text("p", `and ${found.num_more} more; type the path`, "soft") : ""),
    make("div", { className: "row" },
      button("Choose this folder", async () => {
        close();
        await onChoose(found.path, found);
      }, { className: "main" }), button("Cancel", () => close()))]);
}

const SVG = "http://www.w3.org/2000/svg";
function shape(tag, attributes, content = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = content;
  return made;
}

// Curves over epochs: `curves` is a list of {name, color, values}.
export function plot(label, curves, last) {
  const [width, height, left, bottom, above] = [600, 200, 44, 24, 26]; // px
  const values = curves.flatMap((curve) => curve.values).filter((value) => value !== null);
  const top = Math.max(1e-9, ...values) * 1.05;
  const x = (k) => left + ((width - left - 12) * k) / Math.max(1, last - 1);
  const y = (value) => above + (height - bottom - above) * (1 - value / top);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img" });
  svg.setAttribute("aria-label", `${label}: ${curves.map((curve) => {
    const known = curve.values.filter((value) => value !== null);
    return `${curve.name} ${known.length ? known.at(-1).toFixed(2) : "unknown"}`;
  }).join(", ")}`);
  for (const share of [0, 0.5, 1]) {
    const value = (top / 1.05) * share;
    svg.append(shape("line", { x1: left, x2: width - 12, y1: y(value), y2: y(value), class: "axis" }),
      shape("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(2)));
  }
  svg.append(shape("text", { x: left, y: height - 6 }, "epoch 1"),
    shape("text", { x: width - 12, y: height - 6, "text-anchor": "end" }, String(last)));
  curves.forEach((curve, i) => {
    const points = curve.values.map((value, k) => value === null ? "" : `${x(k).toFixed(1)},${y(value).toFixed(1)}`).filter(Boolean);
    if (points.length === 1) svg.append(shape("circle", { cx: points[0].split(",")[0], cy: points[0].split(",")[1], r: 3, fill: curve.color }));
    svg.append(shape("path", { d: `M${points.join("L")}`, stroke: curve.color }),
      shape("text", { x: left + 10 + 150 * i, y: 14 }, `▬ ${curve.name}`));
    svg.lastChild.style.fill = curve.color;
  });
  return svg;
}
