// What each key does: one table for the keyboard, the buttons' titles and the help.

// Digits are keys at a place, whatever is printed on them; letters are characters.
const CLASS_KEYS = "1234567890dehkwty";
export const PREFIX = "q"; // before a class key: the class that many further on

// Return the keys of a class, to be pressed one after another: "1", ..., "q1", ..., "qq1", ...
export function keysOfClass(k) {
  return PREFIX.repeat(Math.floor(k / CLASS_KEYS.length)) + CLASS_KEYS[k % CLASS_KEYS.length];
}

// Return whether some of the classes need a key before theirs.
export function hasPrefix(numClasses) {
  return numClasses > CLASS_KEYS.length;
}

// Return what the user's keyboard says at each place, or null if the browser does not tell.
export async function readLayout() {
  try {
    return await navigator.keyboard.getLayoutMap();
  } catch {
    return null;
  }
}

// Return the keys of a class as they are printed on the user's keyboard.
export function labelOfClass(k, layout) {
  const printed = layout ? [...layout.values()] : [];
  return [...keysOfClass(k)].map((key) => {
    if (/[0-9]/.test(key)) return layout?.get(`Digit${key}`) ?? key;
    if (!layout || printed.includes(key)) return key;
    return layout.get(`Key${key.toUpperCase()}`) ?? key; // an alphabet that is not Latin
  }).join(" ");
}

// [keys, what it does, command, argument]; keys as event.key, with Ctrl+ and Shift+ in front;
// a row without a text belongs to the one above it
export const GROUPS = {
  "Move": [
    [["Space"], "play or pause; backwards", "toggle", 1],
    [["Shift+Space"], "", "toggle", -1],
    [["ArrowRight"], "one frame on, back", "step", 1],
    [["ArrowLeft"], "", "step", -1],
    [["PageDown"], "one second on, back", "jump", 1],
    [["PageUp"], "", "jump", -1],
    [["Home"], "first, last frame", "first"],
    [["End"], "", "last"],
    [["n"], "next edge of a bout, edge before", "edge", 1],
    [["b"], "", "edge", -1],
    [["g"], "next frame without a class", "gap"],
    [["ArrowUp"], "faster, slower", "speed", 1],
    [["ArrowDown"], "", "speed", -1],
    [["l"], "loop over the range or bout", "loop"],
    [["m"], "next recording, recording before", "recording", 1],
    [["Shift+M"], "", "recording", -1],
  ],
  "Score": [
    [["Delete", "Backspace"], "no class: range, or bout here", "clear"],
    [["i"], "range starts, ends here", "from"],
    [["o"], "", "to"],
    [["Shift+ArrowRight"], "range one frame longer, shorter", "extend", 1],
    [["Shift+ArrowLeft"], "", "extend", -1],
    [["Enter"], "range = the bout here", "bout"],
    [["Ctrl+a"], "range = all frames", "all"],
    [["Escape"], "stop labelling; drop the range", "escape"],
    [["Shift+I"], "the bout starts, ends here", "start"],
    [["Shift+O"], "", "end"],
    [["s"], "split: this frame gets no class", "split"],
    [["j"], "join with the next bout of this class", "join"],
    [["Ctrl+z"], "undo, redo", "undo"],
    [["Ctrl+Shift+Z", "Ctrl+y"], "", "redo"],
  ],
  "Predictions": [
    [["a"], "accept the range or bout, go to the next", "accept"],
    [["p"], "curve of the next class, class before", "curve", 1],
    [["Shift+P"], "", "curve", -1],
  ],
  "View": [
    [["+", "="], "zoom into the time line, out of it", "zoom", 2],
    [["-"], "", "zoom", 0.5],
    [["u"], "", "zoom", 0.5], // where - is the key of a class
    [["f"], "whole recording in the time line", "fit"],
    [["z"], "zoom into the picture, out of it", "enlarge", 1.5],
    [["Shift+Z"], "", "enlarge", 1 / 1.5],
    [["Ctrl+ArrowRight"], "move the zoomed picture", "pan", [1, 0]],
    [["Ctrl+ArrowLeft"], "", "pan", [-1, 0]],
    [["Ctrl+ArrowUp"], "", "pan", [0, -1]],
    [["Ctrl+ArrowDown"], "", "pan", [0, 1]],
    [["v"], "brighter, darker", "brightness", 0.1],
    [["Shift+V"], "", "brightness", -0.1],
    [["c"], "more, less contrast", "contrast", 0.1],
    [["Shift+C"], "", "contrast", -0.1],
    [["x"], "picture as it was", "plain"],
    [["r"], "regions: show, draw, save", "regions"],
    [["Shift+R"], "square of the network or the tracks: show, hide", "square"],
    [["?"], "this list", "help"],
  ],
  "Queue": [
    [["."], "next stretch, stretch before", "stretch", 1],
    [[","], "", "stretch", -1],
    [["Shift+A"], "accept the stretch, go to the next", "acceptStretch"],
  ],
  "Estimate": [
    [["."], "stretch is scored: go to the next", "stretch", 1],
    [[","], "stretch before", "stretch", -1],
  ],
};

// Return the character that a key stands for here.
function characterOf(event) {
  const { key, code = "" } = event;
  if (key === " ") return "Space";
  if (key.length > 1) return key; // the number pad without Num Lock moves, too
  const digit = /^(Digit|Numpad)([0-9])$/.exec(code);
  if (digit && !event.shiftKey) return digit[2];
  const letter = /^Key([A-Z])$/.exec(code);
  // a Greek or Cyrillic letter stands for the Latin one at its place
  if (letter && key > "\u007f") return event.shiftKey ? letter[1] : letter[1].toLowerCase();
  return key;
}

// Return the name of the key of an event, as in the table.
export function nameOf(event) {
  const key = characterOf(event);
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const isNamed = key.length > 1;
  const isLetter = key.length === 1 && key.toLowerCase() !== key.toUpperCase();
  const shift = event.shiftKey && (isNamed || isLetter) ? "Shift+" : "";
  return control + shift + (isLetter ? (event.shiftKey ? key.toUpperCase() : key.toLowerCase()) : key);
}

export function shown(name) {
  const signs = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };
  return name.replace(/Arrow\w+|Escape/, (key) => signs[key]);
}

// Return a map from the name of a key to [command, argument].
export function bindings(numClasses, groups) {
  const map = new Map();
  for (const name of groups) {
    for (const [keys, , command, value] of GROUPS[name]) {
      for (const key of keys) map.set(key, [command, value]);
    }
  }
  for (let k = 0; k < numClasses; k++) map.set(keysOfClass(k), ["label", k]);
  return map;
}
