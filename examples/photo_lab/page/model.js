// What the page knows of one photograph, and how updates of its feed change it. No DOM in here.
//
// Invariant: applying an update twice, or one that the snapshot held already, changes nothing.

export const RENDITIONS = [
  { key: "thumb", ratio: 1 },
  { key: "small", ratio: null },
  { key: "banner", ratio: 3 },
  { key: "mono", ratio: null },
  { key: "large", ratio: null },
];
const TERMINAL = new Set(["succeeded", "failed", "cancelled"]);
const LOG_MAX = 200;

export const isOver = (photo) => TERMINAL.has(photo.state);
export const isLocal = (photo) => photo.state === "uploading" || photo.state === "refused";

export function newPhoto(id, name, token = null) {
  return {
    id, name, token, position: null, seen: [],
    state: "ready", attempt: 0, dueAt: null, progress: null, error: null,
    items: {}, attempts: [], log: [],
  };
}

/** A moment as milliseconds; the server may write ISO text or seconds. */
export function instant(value) {
  if (value === null || value === undefined) return null;
  return typeof value === "number" ? value * 1000 : Date.parse(value);
}

/** Start again from a snapshot: it holds everything up to its position. */
export function restart(photo, snapshot, position) {
  const job = snapshot.job ?? snapshot;
  photo.position = position;
  photo.seen = [];
  photo.state = job.state;
  photo.attempt = job.attempt ?? 0;
  photo.progress = job.progress ?? null;
  photo.error = job.error ?? null;
  photo.items = {};
  for (const item of snapshot.items ?? []) keep(photo, item.data?.data ?? item.data, item.key ?? item.data?.key);
  photo.attempts = (snapshot.attempts ?? []).map(attemptOf);
  if (isOver(photo)) close(photo, photo.attempt, photo.state, instant(job.finished_at), photo.error);
}

/** Apply one update; returns false if it was known already. */
export function apply(photo, update) {
  const { kind, position, attempt } = update;
  const data = update.data ?? {};
  if (kind !== "progress") {
    if (photo.seen.includes(position)) return false;
    photo.seen = [...photo.seen.slice(-LOG_MAX), position];
  }
  photo.position = position ?? photo.position;
  const at = instant(update.at);
  if (kind === "progress") photo.progress = data;
  else if (kind === "item") keep(photo, data.data ?? data, data.key);
  else if (kind === "state") changeState(photo, data, data.attempt ?? attempt, at);
  else if (kind === "end") end(photo, data, attempt, at);
  photo.log = [...photo.log.slice(-LOG_MAX), { position, kind, attempt, at, words: wordsOf(kind, data) }];
  return true;
}

function changeState(photo, data, attempt, at) {
  photo.state = data.state;
  photo.attempt = Math.max(photo.attempt, attempt ?? 0);
  photo.dueAt = data.due_in_s ? at + data.due_in_s * 1000 : null;
  if (data.state === "running") {
    photo.error = null;
    if (!photo.attempts.some((one) => one.attempt === attempt)) {
      photo.attempts.push({ attempt, outcome: "running", started: at, ended: null, error: null });
    }
  } else if (data.outcome || isOver(photo)) {
    close(photo, attempt, data.outcome ?? data.state, at, data.error);
  }
  if (isOver(photo)) photo.error = data.error ?? null; // an end that a retry has overtaken
  else photo.error = data.error ?? (data.state === "ready" ? null : photo.error);
}

function end(photo, data, attempt, at) {
  photo.state = data.state;
  photo.error = data.error ?? null;
  photo.dueAt = null;
  close(photo, attempt, data.state, at, data.error);
}

function close(photo, attempt, outcome, at, error) {
  const one = photo.attempts.find((each) => each.attempt === attempt);
  if (one && one.ended === null) Object.assign(one, { outcome, ended: at, error: error ?? null });
}

function keep(photo, data, key) {
  photo.items[key ?? Object.keys(photo.items).length] = data;
}

export function attemptOf(raw) {
  return {
    attempt: raw.attempt,
    outcome: raw.outcome ?? (raw.ended_at ? "crashed" : "running"),
    started: instant(raw.started_at),
    ended: instant(raw.ended_at),
    error: raw.error ?? null,
  };
}

/** Milliseconds from a crash to the next attempt's start; a kill that we saw counts from the kill. */
export function pickedUp(photo, index, kills) {
  const crashed = photo.attempts[index];
  const next = photo.attempts[index + 1];
  if (!crashed || !next || crashed.outcome !== "crashed") return null;
  const kill = kills.find((one) => one.at >= crashed.started && one.at <= next.started);
  return Math.max(0, next.started - (kill ? kill.at : crashed.ended ?? next.started));
}

/** How the photos that ran when a worker was killed came back: counts and milliseconds. */
export function recovery(photos, kill) {
  const asked = photos.filter((photo) => kill.jobs.includes(photo.id));
  const back = asked
    .map((photo) => photo.attempts.find((one) => one.started > kill.at))
    .filter(Boolean)
    .map((one) => one.started - kill.at)
    .sort((a, b) => a - b);
  const down = asked.filter((photo) => !isOver(photo) && !photo.attempts.some((one) => one.started > kill.at));
  return { hit: back.length + down.length, back }; // a job that ended just before the kill was not hit
}

/** Newest batch first, and inside one in the order of the drop: ids are UUIDv7, they carry the time. */
export function ordered(photos) {
  const at = (photo) => photo.madeAt ?? parseInt(photo.id.replaceAll("-", "").slice(0, 12), 16);
  const rising = [...photos].sort((a, b) => at(a) - at(b) || (a.id < b.id ? -1 : 1));
  const batches = [];
  for (const photo of rising) {
    const batch = batches.at(-1);
    if (batch && at(photo) - at(batch.at(-1)) < 4000) batch.push(photo);
    else batches.push([photo]);
  }
  return batches.reverse().flat();
}

export const seconds = (ms) => `${(ms / 1000).toFixed(ms < 995 ? 2 : 1)} s`;

function wordsOf(kind, data) {
  if (kind === "progress") return `${data.done} of ${data.total} ${data.message ?? ""}`;
  if (kind === "item") return data.key ?? "";
  if (kind === "log") return data.message ?? "";
  return [data.state, data.outcome, data.cause].filter(Boolean).join(", ");
}
