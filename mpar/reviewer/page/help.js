// The list of keys, and small builders of elements.

import { GROUPS, hasPrefix, labelOfClass, PREFIX, shown } from "./keys.js";

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function swatch(color) {
  const element = make("span", { class: color ? "swatch" : "swatch none", "aria-hidden": "true" });
  if (color) element.style.background = color;
  return element;
}

function row(keys, text) {
  const caps = keys.flatMap((key, k) => [k ? " " : "", make("kbd", {}, shown(key))]);
  return make("tr", {}, make("th", { scope: "row" }, ...caps), make("td", {}, text));
}

// Return the rows of the help: keys that belong together stand in one.
function joined(group) {
  const rows = [];
  for (const [keys, text] of group) {
    if (text) rows.push([[keys[0]], text]);
    else rows.at(-1)[0].push(keys[0]);
  }
  return rows;
}

export function fillHelp(dialog, classes, groups, layout) {
  const named = classes.map((item, k) => [labelOfClass(k, layout), item.name]);
  const sections = [
    make("section", {}, make("h3", {}, "Classes"),
      make("table", {}, ...named.map(([key, name]) => row([key], name)))),
    ...groups.map((name) => make("section", {}, make("h3", {}, name),
      make("table", {}, ...joined(GROUPS[name]).map(([keys, text]) => row(keys, text))))),
  ];
  dialog.replaceChildren(
    make("h2", { tabindex: -1, autofocus: true }, "Keys"),
    make("p", {}, "Press a class key and go forward: every frame you pass gets that class, until you " +
      "press the key of another class or Esc. Or choose a range first (drag on the time line, or i " +
      "and o), then press the class key." + (hasPrefix(classes.length)
        ? ` Press ${PREFIX} first, then the second key, for the classes further down.` : "")),
    make("div", { class: "columns" }, ...sections),
    make("form", { method: "dialog" }, make("button", {}, "Close")),
  );
}
