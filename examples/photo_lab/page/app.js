// The photo lab's page. It needs no build and nothing from the network but the lab itself.
//
// The lab's own endpoints (../app.py):
//   GET  lab/photos              [{job_id, name, token}]: every photograph, with a fresh token
//   POST lab/photos?name=…       the photograph as raw body -> 202 {id, state, position, token, links}
//                                or application/problem+json (413 too large, 422 no photograph)
//   POST lab/samples             -> 202 [{job_id, name, token}]: the painted seed set
//   GET  lab/files/{job}/{file}  one rendition
//   GET  lab/source              the task's source, text/plain
//   GET  lab/worker              {pids: […]}
//   POST lab/worker/kill         -> {pid, killed_at}; 409 where no worker runs
// Headrace's:
//   WS   headrace/ws             the live feed (feed.js)
//   POST headrace/api/jobs/{id}/cancel, …/retry    Authorization: Bearer <the job's token>
//   GET  headrace/api/jobs/{id}/attempts           the same; here after a reload, for the timeline

import { Card, set } from "./card.js";
import { Feed } from "./feed.js";
import { apply, attemptOf, instant, isLocal, isOver, newPhoto, ordered, recovery, restart, seconds } from "./model.js";
import { colour } from "./source.js";

const $ = (id) => document.getElementById(id);
const SINGLE = new URLSearchParams(location.search).get("job");
const UPLOADS_AT_ONCE = 3;
const TOKENS_EVERY_MS = 8 * 60_000; // they live for 15 minutes
const KEEP = "photo-lab:";

const photos = new Map();
const cards = new Map();
const waiting = [];
const kills = JSON.parse(localStorage.getItem(`${KEEP}kills`) ?? "[]"); // for every tab
const tabs = new BroadcastChannel("photo-lab");
let uploading = 0;
let scheduled = false;
let synced = false;

document.body.classList.toggle("single", Boolean(SINGLE));

// --- the list and the feed ---------------------------------------------------------------------

const feed = new Feed(`${location.protocol.replace("http", "ws")}//${location.host}/headrace/ws`, {
  status(state, words) {
    $("live").dataset.state = state;
    set($("live-words"), words);
  },
  tokens: sync,
  position: (id) => photos.get(id)?.position,
  subscribed(id, frame) {
    const photo = photos.get(id);
    if (!photo) return;
    if (frame.snapshot) {
      restart(photo, frame.snapshot, frame.position);
      if (!frame.snapshot.attempts) loadAttempts(photo);
    } else photo.position = frame.position ?? photo.position;
    changed(photo);
  },
  update(id, frame) {
    const photo = photos.get(id);
    if (!photo) return;
    const before = photo.state;
    if (!apply(photo, frame)) return;
    if (photo.state !== before) say(`${photo.name}: ${photo.state}${photo.attempt > 1 ? `, attempt ${photo.attempt}` : ""}`);
    changed(photo);
  },
  refused(id, problem) {
    const photo = photos.get(id);
    if (!photo) return;
    if (problem.type?.endsWith("unknown-job")) {
      photos.delete(id);
      feed.forget(id);
      draw();
    } else notice(`${photo.name} cannot be followed: ${problem.detail ?? problem.title ?? "no reason was given"}`);
  },
});

async function sync() {
  const listed = await ask("lab/photos");
  feed.refresh(listed.map(({ job_id, token }) => [job_id, token]));
  for (const one of listed) add(one.job_id, one.name, one.token);
  forget(new Set(listed.map(({ job_id }) => job_id)));
  synced = true;
  draw();
}

function add(id, name, token, blob) {
  if (SINGLE && id !== SINGLE) return;
  const known = photos.get(id);
  if (known) {
    known.token = token;
    return;
  }
  const photo = { ...newPhoto(id, name, token), ...remembered(id), token };
  if (blob) photo.blob = blob;
  photos.set(id, photo);
  feed.follow(id, token);
}

async function loadAttempts(photo) {
  const answer = await ask(`headrace/api/jobs/${photo.id}/attempts`, { token: photo.token }).catch(() => null);
  if (!answer) return;
  const heard = photo.attempts.filter((one) => one.ended === null);
  photo.attempts = (answer.attempts ?? answer.items ?? answer).map(attemptOf);
  if (!photo.attempts.length) photo.attempts = heard;
  changed(photo);
}

// --- what a reload finds again -----------------------------------------------------------------

function remembered(id) {
  try {
    return JSON.parse(sessionStorage.getItem(KEEP + id) ?? "{}");
  } catch {
    return {};
  }
}

function remember(photo) {
  if (isLocal(photo)) return;
  const { token, blob, changedAt, ...kept } = photo;
  try {
    sessionStorage.setItem(KEEP + photo.id, JSON.stringify(kept));
  } catch {
    sessionStorage.removeItem(KEEP + photo.id); // full: the next page asks for a snapshot
  }
}

/** Photographs that the lab has no more, say since its data was removed. */
function forget(listed) {
  for (const key of Object.keys(sessionStorage)) {
    const id = key.slice(KEEP.length);
    if (key.startsWith(KEEP) && !listed.has(id)) sessionStorage.removeItem(key);
  }
}

// --- dropping ----------------------------------------------------------------------------------

function take(files) {
  notice("");
  for (const file of files) {
    const photo = newPhoto(`up-${crypto.randomUUID?.() ?? Math.random()}`, file.name);
    Object.assign(photo, { state: "uploading", madeAt: Date.now(), blob: URL.createObjectURL(file) });
    photos.set(photo.id, photo);
    waiting.push([photo, file]);
  }
  draw();
  next();
}

function next() {
  while (uploading < UPLOADS_AT_ONCE && waiting.length) {
    uploading += 1;
    upload(...waiting.shift()).finally(() => {
      uploading -= 1;
      next();
    });
  }
}

async function upload(photo, file) {
  try {
    const job = await ask(`lab/photos?name=${encodeURIComponent(file.name.slice(-200))}`, { method: "POST", body: file });
    const card = cards.get(photo.id);
    photos.delete(photo.id);
    cards.delete(photo.id);
    add(job.id, photo.name, job.token, photo.blob);
    if (card && !cards.has(job.id)) cards.set(job.id, card); // the same card goes on
    else card?.element.remove();
    tabs.postMessage("changed");
  } catch (error) {
    URL.revokeObjectURL(photo.blob);
    Object.assign(photo, { state: "refused", blob: null, error: { message: error.message } });
    say(`${photo.name}: refused. ${error.message}`);
  }
  draw();
}

$("choose").onclick = () => $("files").click();
$("files").onchange = ({ target }) => {
  take(target.files);
  target.value = "";
};
$("samples").onclick = async ({ currentTarget: button }) => {
  button.disabled = true;
  set(button, "Painting the samples …");
  try {
    for (const one of await ask("lab/samples", { method: "POST" })) add(one.job_id, one.name, one.token);
    tabs.postMessage("changed");
  } catch (error) {
    notice(error.message);
  }
  set(button, "Use the sample photos");
  button.disabled = false;
  draw();
};

let depth = 0;
addEventListener("dragenter", (event) => hasFiles(event) && veil((depth += 1) > 0));
addEventListener("dragleave", (event) => hasFiles(event) && veil((depth -= 1) > 0));
addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  veil(Boolean((depth = 0)));
  if (!SINGLE) take(event.dataTransfer.files);
});
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
const veil = (shown) => ($("veil").hidden = !shown || Boolean(SINGLE));

// --- the worker --------------------------------------------------------------------------------

let pids = [];

async function lookAtWorker() {
  const found = await ask("lab/worker").catch(() => null);
  pids = found?.pids ?? [];
  $("pid").dataset.state = pids.length ? "up" : "down";
  set($("pid-words"), pids.length ? `pid ${pids.join(", ")}` : found ? "none is running" : "the lab does not answer");
  $("kill").disabled = !pids.length;
}

$("kill").onclick = async () => {
  $("kill").disabled = true;
  const jobs = [...photos.values()].filter((photo) => photo.state === "running").map((photo) => photo.id);
  try {
    const { pid, killed_at } = await ask("lab/worker/kill", { method: "POST" });
    kills.push({ pid, at: instant(killed_at), jobs });
    localStorage.setItem(`${KEEP}kills`, JSON.stringify(kills.slice(-20)));
    $("pid").dataset.state = "down";
    set($("pid-words"), `pid ${pid} was killed`);
  } catch (error) {
    notice(error.message);
  }
  draw();
  setTimeout(lookAtWorker, 400);
};

addEventListener("storage", ({ key, newValue }) => {
  if (key !== `${KEEP}kills`) return;
  kills.splice(0, kills.length, ...JSON.parse(newValue ?? "[]"));
  draw();
});

function showMeasure() {
  const kill = kills.findLast(({ jobs }) => !jobs.length || jobs.some((id) => photos.has(id)));
  $("measure").hidden = !kill;
  if (!kill) return;
  const { hit, back } = recovery([...photos.values()], kill);
  $("measure").dataset.state = back.length ? "back" : hit ? "down" : "idle";
  if (back.length) {
    set($("measure-value"), seconds(back[0]));
    const rest = hit > 1 ? ` · ${back.length} of ${hit} are back${back.length > 1 ? `, the last after ${seconds(back.at(-1))}` : ""}` : "";
    set($("measure-words"), `killed → running again${rest}`);
  } else {
    const waited = Date.now() - kill.at;
    set($("measure-value"), !hit ? "0 photos" : waited < 60_000 ? seconds(Math.max(0, waited)) : "over a minute");
    set($("measure-words"), hit ? `pid ${kill.pid} is dead; waiting for its ${hit > 1 ? "jobs" : "job"} to run again` : "were being developed when it was killed");
  }
}

// --- buttons of a card -------------------------------------------------------------------------

const actions = {
  cancel: (photo) => command(photo, "cancel"),
  async retry(photo) {
    await command(photo, "retry");
    feed.follow(photo.id, photo.token);
    tabs.postMessage({ again: photo.id });
  },
  dismiss(photo) {
    photos.delete(photo.id);
    draw();
  },
};

async function command(photo, verb) {
  notice("");
  try {
    await ask(`headrace/api/jobs/${photo.id}/${verb}`, { method: "POST", token: photo.token });
  } catch (error) {
    notice(`${photo.name}: ${error.message}`);
  }
}

// --- drawing -----------------------------------------------------------------------------------

const unsaved = new Set();

function changed(photo) {
  unsaved.add(photo);
  draw();
}

function draw() {
  if (scheduled) return;
  scheduled = true;
  (document.hidden ? setTimeout : requestAnimationFrame)(drawNow);
}

function drawNow() {
  scheduled = false;
  const now = Date.now();
  const list = $("cards");
  const shown = ordered(photos.values());
  shown.forEach((photo, index) => {
    const card = cards.get(photo.id) ?? new Card($("card"), actions, Boolean(SINGLE));
    cards.set(photo.id, card);
    card.show(photo, kills, now);
    if (list.children[index] !== card.element) list.insertBefore(card.element, list.children[index] ?? null);
  });
  for (const [id, card] of cards) {
    if (photos.has(id)) continue;
    card.element.remove();
    cards.delete(id);
  }
  document.body.classList.toggle("empty", synced && !shown.length);
  document.body.classList.toggle("filled", shown.length > 0);
  showMeasure();
  for (const photo of unsaved) remember(photo);
  unsaved.clear();
  if (SINGLE && shown.length) document.title = `${shown[0].name} · ${shown[0].state}`;
}

const ticks = () => $("measure").dataset.state === "down" || [...photos.values()].some((photo) => photo.state === "running" || photo.dueAt);
setInterval(() => ticks() && draw(), 100);

function notice(words) {
  set($("notice"), words);
  $("notice").hidden = !words;
}

function say(words) {
  set($("said"), words);
}

// --- asking ------------------------------------------------------------------------------------

async function ask(path, { method = "GET", body, token } = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer;
  try {
    answer = await fetch(path, { method, body, headers });
  } catch {
    throw new Error("The lab does not answer; is it still running?");
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    const detail = typeof problem.detail === "string" ? problem.detail : problem.title;
    throw new Error(detail ?? `The lab answered with ${answer.status}.`);
  }
  return (answer.headers.get("content-type") ?? "").includes("json") ? answer.json() : answer.text();
}

// --- start -------------------------------------------------------------------------------------

async function start() {
  try {
    await sync();
    notice(SINGLE && !photos.has(SINGLE) ? "This photo is not in the lab any more." : "");
  } catch (error) {
    notice(error.message);
    setTimeout(start, 2000);
  }
}

start();
setInterval(() => sync().catch(() => {}), TOKENS_EVERY_MS);
tabs.onmessage = ({ data }) => {
  const photo = photos.get(data.again); // retried in another tab: its feed goes on
  if (photo) feed.follow(photo.id, photo.token);
  else sync().catch(() => {});
};
document.addEventListener("visibilitychange", () => document.hidden || sync().catch(() => {}));
if (!SINGLE) {
  ask("lab/source").then((text) => $("source").replaceChildren(...colour(text.trimEnd()))).catch(() => {});
  lookAtWorker();
  setInterval(() => document.hidden || lookAtWorker(), 1000);
}
