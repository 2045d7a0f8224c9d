// The live feed's client: one WebSocket, subprotocol headrace.v1, many jobs.
//
// It reconnects by itself and subscribes again from each job's last position, so that its owner
// sees every update once more at worst and never too few. Close codes 4500 to 4599 are final.

const BACKOFF_MS = 250;
const BACKOFF_MAX_MS = 10_000;
const TOPICS_MAX = 100;

export class Feed {
  #url; #owner; #socket = null; #open = false; #jobs = new Map(); #failures = 0; #timer = null; #watch = null; #over = false;
  #heartbeat = 0; #topics = TOPICS_MAX;

  /** owner: { status(state, words), tokens() -> Promise, position(id), subscribed(id, frame), update(id, frame), refused(id, problem) } */
  constructor(url, owner) {
    this.#url = url;
    this.#owner = owner;
    addEventListener("online", () => this.#soon(0));
    document.addEventListener("visibilitychange", () => document.hidden || this.#soon(0));
  }

  /** Follow a job, or follow it again after it had ended. */
  follow(id, token) {
    const known = this.#jobs.has(id);
    this.#jobs.set(id, token);
    if (this.#open) {
      if (known) this.#send({ type: "unsubscribe", id });
      this.#subscribe(id);
    } else if (!this.#socket && !this.#timer) this.#soon(0);
  }

  leave(id) {
    if (this.#jobs.delete(id) && this.#open) this.#send({ type: "unsubscribe", id });
  }

  refresh(tokens) {
    for (const [id, token] of tokens) {
      if (!this.#jobs.has(id)) continue;
      this.#jobs.set(id, token);
      if (this.#open) this.#send({ type: "refresh", token });
    }
  }

  #soon(delay) {
    if (this.#over || this.#socket || !this.#jobs.size) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  async #connect() {
    this.#timer = null;
    if (this.#failures) {
      await this.#owner.tokens().catch(() => {}); // the old ones may have expired meanwhile
    }
    if (this.#socket || !this.#jobs.size) return;
    const socket = new WebSocket(this.#url, "headrace.v1");
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ type: "connect", token: this.#jobs.values().next().value }));
    socket.onmessage = (message) => this.#receive(JSON.parse(message.data));
    socket.onclose = (closed) => this.#closed(closed);
  }

  #receive(frame) {
    this.#alive(frame.type === "heartbeat");
    if (frame.type === "connected") {
      this.#open = true;
      this.#failures = 0;
      this.#heartbeat = frame.heartbeat_ms ?? 25_000;
      this.#topics = frame.topics_max ?? TOPICS_MAX;
      this.#owner.status("live", "Live");
      for (const id of [...this.#jobs.keys()].slice(0, this.#topics)) this.#subscribe(id);
    } else if (frame.type === "subscribed") this.#owner.subscribed(frame.id, frame);
    else if (frame.type === "update") this.#owner.update(frame.id, frame);
    else if (frame.type === "error" && frame.id) this.#owner.refused(frame.id, frame.problem ?? {});
  }

  /** Where heartbeats come as frames, silence for longer than two of them means a dead line. */
  #alive(heartbeat) {
    if (!heartbeat && !this.#watch) return;
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#socket?.close(), 2 * this.#heartbeat + 5000);
  }

  #subscribe(id) {
    const position = this.#owner.position(id);
    this.#send({ type: "subscribe", id, topic: `job:${id}`, token: this.#jobs.get(id), ...(position ? { position } : {}) });
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #closed({ code, reason }) {
    clearTimeout(this.#watch);
    this.#socket = this.#watch = null;
    this.#open = false;
    if (code >= 4500 && code <= 4599) {
      this.#over = true;
      this.#owner.status("over", reason || "Live updates were refused; reload the page");
      return;
    }
    this.#failures += 1;
    this.#owner.status("connecting", "Reconnecting");
    const wait = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** (this.#failures - 1));
    this.#soon(wait * (0.5 + Math.random()));
  }
}
