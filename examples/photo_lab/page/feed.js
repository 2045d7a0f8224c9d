// The live feed's client: one WebSocket, subprotocol headrace.v1, many jobs.
//
// It reconnects by itself and subscribes again from each job's last position, so that its owner
// sees every update once more at worst and never too few. Close codes 4500 to 4599 are final.

const BACKOFF_MS = 250;
const BACKOFF_MAX_MS = 10_000;
const STEADY_MS = 5_000;
const TOPICS_MAX = 100;

export class Feed {
  #url; #owner; #socket = null; #open = false; #jobs = new Map(); #failures = 0; #timer = null; #watch = null; #steady = null; #over = false;
  #heartbeat = 0; #topics = TOPICS_MAX;
  #subscriptions = new Map(); #last = 0; // subscription -> job: each has an id of its own, never used again
  #due = new Set(); // jobs to subscribe as soon as there is room

  /** owner: { status(state, words), tokens() -> Promise, position(id), subscribed(id, frame), update(id, frame), refused(id, problem) } */
  constructor(url, owner) {
    this.#url = url;
    this.#owner = owner;
    addEventListener("online", () => this.#soon(0));
    document.addEventListener("visibilitychange", () => document.hidden || this.#soon(0));
  }

  /** Follow a job, or follow it again after it had ended. */
  follow(job, token) {
    this.#jobs.set(job, token);
    this.#due.add(job);
    if (this.#open) this.#fill();
    else if (!this.#socket && !this.#timer) this.#soon(0);
  }

  forget(job) {
    this.#jobs.delete(job);
    this.#due.delete(job);
  }

  /** New tokens for the jobs that are followed: [[job, token]]. */
  refresh(tokens) {
    for (const [job, token] of tokens) if (this.#jobs.has(job)) this.#jobs.set(job, token);
    if (!this.#open) return;
    this.#send({ type: "refresh", token: this.#jobs.values().next().value });
    for (const [id, job] of this.#subscriptions) this.#send({ type: "refresh", id, token: this.#jobs.get(job) });
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
      this.#steady = setTimeout(() => (this.#failures = 0), STEADY_MS); // not before: it may be closed at once
      this.#heartbeat = frame.heartbeat_ms ?? 25_000;
      this.#topics = frame.topics_max ?? TOPICS_MAX;
      this.#owner.status("live", "Live");
      this.#due = new Set(this.#jobs.keys());
      this.#fill();
      return;
    }
    const job = this.#subscriptions.get(frame.id);
    if (!job) return;
    if (frame.type === "subscribed") this.#owner.subscribed(job, frame);
    else if (frame.type === "update") this.#owner.update(job, frame);
    else if (frame.type === "error") this.#owner.refused(job, frame.problem ?? {});
    const over = frame.ended || frame.kind === "end";
    if (over) this.#send({ type: "unsubscribe", id: frame.id });
    if (over || frame.type === "error") {
      this.#subscriptions.delete(frame.id);
      this.#fill();
    }
  }

  /** Where heartbeats come as frames, silence for longer than two of them means a dead line. */
  #alive(heartbeat) {
    if (!heartbeat && !this.#watch) return;
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#socket?.close(), 2 * this.#heartbeat + 5000);
  }

  #fill() {
    for (const job of this.#due) {
      if (this.#subscriptions.size >= this.#topics) return;
      this.#due.delete(job);
      if (![...this.#subscriptions.values()].includes(job)) this.#subscribe(job);
    }
  }

  #subscribe(job) {
    const id = `s${(this.#last += 1)}`;
    const position = this.#owner.position(job);
    this.#subscriptions.set(id, job);
    this.#send({ type: "subscribe", id, topic: `job:${job}`, token: this.#jobs.get(job), ...(position ? { position } : {}) });
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #closed({ code, reason }) {
    clearTimeout(this.#watch);
    clearTimeout(this.#steady);
    this.#socket = this.#watch = null;
    this.#open = false;
    this.#subscriptions.clear();
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
