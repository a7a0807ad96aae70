// What each key does: one table for the keyboard, the buttons' titles and the help.

const CLASS_KEYS = "1234567890dehkwty";

export function keyOfClass(k) {
  return CLASS_KEYS[k] ?? "";
}

// [keys, what it does, command, argument]; keys as event.key, with Ctrl+ and Shift+ in front
export const GROUPS = {
  "Move": [
    [["Space"], "play or pause", "toggle", 1],
    [["Shift+Space"], "play backwards", "toggle", -1],
    [["ArrowRight"], "one frame on", "step", 1],
    [["ArrowLeft"], "one frame back", "step", -1],
    [["PageDown"], "one second on", "jump", 1],
    [["PageUp"], "one second back", "jump", -1],
    [["Home"], "first frame", "first"],
    [["End"], "last frame", "last"],
    [["n"], "next edge of a bout", "edge", 1],
    [["b"], "edge before", "edge", -1],
    [["g"], "next frame without a class", "gap"],
    [["ArrowUp"], "faster", "speed", 1],
    [["ArrowDown"], "slower", "speed", -1],
    [["l"], "loop over the range or bout", "loop"],
    [["m"], "next recording", "recording", 1],
    [["Shift+M"], "recording before", "recording", -1],
  ],
  "Score": [
    [["Delete", "Backspace"], "no class: range, or bout here", "clear"],
    [["i"], "range starts here", "from"],
    [["o"], "range ends here", "to"],
    [["Shift+ArrowRight"], "range one frame longer", "extend", 1],
    [["Shift+ArrowLeft"], "range one frame shorter", "extend", -1],
    [["Enter"], "range = the bout here", "bout"],
    [["Ctrl+a"], "range = all frames", "all"],
    [["Escape"], "stop labelling; drop the range", "escape"],
    [["Shift+I"], "the bout starts here", "start"],
    [["Shift+O"], "the bout ends here", "end"],
    [["s"], "split: this frame gets no class", "split"],
    [["j"], "join with the next bout of this class", "join"],
    [["Ctrl+z"], "undo", "undo"],
    [["Ctrl+Shift+Z", "Ctrl+y"], "redo", "redo"],
  ],
  "Predictions": [
    [["a"], "accept the range or bout, go to the next", "accept"],
    [["p"], "curve of the next class", "curve", 1],
    [["Shift+P"], "curve of the class before", "curve", -1],
  ],
  "View": [
    [["+", "="], "zoom into the time line", "zoom", 2],
    [["-"], "zoom out of the time line", "zoom", 0.5],
    [["f"], "whole recording in the time line", "fit"],
    [["z"], "zoom into the picture", "enlarge", 1.5],
    [["Shift+Z"], "zoom out of the picture", "enlarge", 1 / 1.5],
    [["Ctrl+ArrowRight"], "move the zoomed picture", "pan", [1, 0]],
    [["Ctrl+ArrowLeft"], "", "pan", [-1, 0]],
    [["Ctrl+ArrowUp"], "", "pan", [0, -1]],
    [["Ctrl+ArrowDown"], "", "pan", [0, 1]],
    [["v"], "brighter", "brightness", 0.1],
    [["Shift+V"], "darker", "brightness", -0.1],
    [["c"], "more contrast", "contrast", 0.1],
    [["Shift+C"], "less contrast", "contrast", -0.1],
    [["x"], "picture as it was", "plain"],
    [["r"], "regions: show, draw, save", "regions"],
    [["?"], "this list", "help"],
  ],
  "Queue": [
    [["."], "next stretch", "stretch", 1],
    [[","], "stretch before", "stretch", -1],
    [["Shift+A"], "accept the stretch, go to the next", "acceptStretch"],
  ],
};

// Return the name of the key of an event, as in the table.
export function nameOf(event) {
  const key = event.key === " " ? "Space" : event.key;
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
  for (let k = 0; k < numClasses; k++) if (keyOfClass(k)) map.set(keyOfClass(k), ["label", k]);
  return map;
}
