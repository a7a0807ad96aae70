// Talks to the server. Every path is relative to the page, so it contains the token.

export class RefusedError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new RefusedError(0, "mpar-review does not answer");
  }
  if (response.ok) return response;
  let text = `${response.status} ${response.statusText}`;
  try {
    text = (await response.json()).error ?? text;
  } catch {
    // not JSON: the status is all there is
  }
  throw new RefusedError(response.status, text);
}

function address(path, values) {
  return `${path}?${new URLSearchParams(values)}`;
}

export async function getJson(path, values = {}) {
  return (await ask(address(path, values))).json();
}

export async function getBytes(path, values = {}) {
  const response = await ask(address(path, values));
  return {
    bytes: await response.arrayBuffer(),
    generation: response.headers.get("X-Generation"),
    numProven: Number(response.headers.get("X-Proven")),
  };
}

export async function post(path, values, body) {
  const response = await ask(address(path, values), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return response.json();
}

// Sends edits one after another, and keeps those that the server has not confirmed.
export class Sender {
  // `onReply(reply, isLast)`, `onState(numWaiting, isLost)`, `onStale(message)`, `onRefused(message)`
  constructor(handlers) {
    this.handlers = handlers;
    this.waiting = [];
    this.isBusy = false;
    this.revision = 0;
    this.name = "";
  }

  get isIdle() {
    return !this.waiting.length && !this.isBusy;
  }

  send(edit) {
    this.waiting.push(edit);
    this.handlers.onState(this.waiting.length, false);
    this.flush();
  }

  async flush() {
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.waiting.length) {
      try {
        const body = { ...this.waiting[0], revision: this.revision };
        const reply = await post("edit", { name: this.name }, body);
        this.waiting.shift();
        this.revision = reply.revision;
        this.handlers.onState(this.waiting.length, false);
        this.handlers.onReply(reply, !this.waiting.length);
      } catch (error) {
        if (error.status === 0) {
          this.handlers.onState(this.waiting.length, true);
          await new Promise((done) => setTimeout(done, 2000));
          continue;
        }
        this.waiting = [];
        this.isBusy = false;
        this.handlers.onState(0, false);
        if (error.status === 409) this.handlers.onStale(error.message);
        else this.handlers.onRefused(error.message);
        return;
      }
    }
    this.isBusy = false;
  }

  // Wait until every edit is confirmed.
  async settle() {
    while (!this.isIdle) await new Promise((done) => setTimeout(done, 20));
  }
}
