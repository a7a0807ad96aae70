// The square that follows the animal: what the network saw, or where the tracks say it is.

export class Square {
  constructor(overlay, isOn) {
    this.overlay = overlay;
    this.isOn = isOn;
    this.frame = 0;
    this.path = null; // { side, moves: [[first frame, x, y], ...] }; x is -1 for the whole region
  }

  open(state) {
    this.path = state.squares;
    this.overlay.setAttribute("viewBox", `0 0 ${state.width} ${state.height}`);
    this.show(0);
  }

  toggle() {
    this.isOn = !this.isOn;
    this.show(this.frame);
  }

  show(frame) {
    this.frame = frame;
    const corner = this.isOn && this.path ? this.#corner(frame) : null;
    this.overlay.toggleAttribute("hidden", !corner);
    if (!corner) return;
    const [x, y] = corner;
    const { side } = this.path;
    const rect = this.overlay.firstElementChild;
    for (const [name, value] of Object.entries({ x, y, width: side, height: side })) rect.setAttribute(name, value);
  }

  // The last move up to a frame, by bisection.
  #corner(frame) {
    const { moves } = this.path;
    let [low, high] = [0, moves.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (moves[middle][0] <= frame) low = middle;
      else high = middle;
    }
    const [, x, y] = moves[low];
    return x < 0 ? null : [x, y];
  }
}
