// The failure lab's page. The lab's own endpoints (../prints.py):
//   GET  lab/prints         all that is shown: {shop, upstream, jobs, ramp_s}; asked for twice a second
//   POST lab/prints         orders 100 prints
//   PUT  lab/shop           {down, error_rate, latency_ms}
//   GET  lab/prints/source  the task's source, text/plain

import { set } from "./card.js";
import { colour } from "./source.js";

const $ = (id) => document.getElementById(id);
const LOOK_EVERY_MS = 500;
const SECONDS = 60;
const SVG = "http://www.w3.org/2000/svg";

const states = new Map(); // second -> the breaker's state then
let touched = 0; // when a control was last moved, or the shop last heard of it: what was asked before moves none back
let sending = 0; // changes that the shop has not heard of yet
let sent = Promise.resolve(); // one after the other, so that the last one stands

// --- looking -------------------------------------------------------------------------------------

async function look() {
  try {
    const asked = Date.now();
    const seen = await ask("lab/prints");
    $("live").dataset.state = "live";
    set($("live-words"), "Live");
    show(seen, asked);
  } catch (error) {
    $("live").dataset.state = "over";
    set($("live-words"), error.message);
  }
  setTimeout(look, document.hidden ? 2000 : LOOK_EVERY_MS);
}

function show({ shop, upstream, jobs, ramp_s }, asked) {
  const state = upstream?.state ?? "closed";
  const held = ["open", "half_open", "forced_open"].includes(state);
  showBreaker(state, upstream, ramp_s);
  set($("held"), String(held ? jobs.waiting : 0));
  set($("probes"), String(state === "half_open" ? upstream.permits : 0));
  for (const name of ["running", "succeeded", "failed", "failures"]) set($(name), String(jobs[name]));
  for (const name of ["failed", "failures"]) $(name).parentElement.classList.toggle("bad", jobs[name] > 0);
  $("shop").setAttribute("aria-disabled", String(!shop));
  for (const id of ["down", "error-rate", "latency"]) $(id).disabled = !shop;
  if (!shop) {
    set($("calls-words"), "The print shop does not answer; `headrace demo` starts it.");
    return;
  }
  set($("received"), String(shop.books.received));
  set($("received-down"), String(shop.books.received_down));
  if (!sending && asked > touched && Date.now() - touched > 1500) showMood(shop.mood);
  draw(shop, state);
}

function showBreaker(state, upstream, ramp) {
  const left = state === "closed" && upstream?.ramp_s != null ? ramp - upstream.ramp_s : 0;
  const counted = upstream?.calls ? `${upstream.failures} of the last ${upstream.calls} calls failed.` : "No call was counted lately.";
  const [name, next, why] = {
    closed: left > 0
      ? ["Closed", `more jobs at a time for another ${left.toFixed(0)} s`, "The probes went well. The jobs come back little by little."]
      : ["Closed", "calls go through", counted],
    open: ["Open", upstream?.retry_in_s ? `next try in ${upstream.retry_in_s.toFixed(1)} s` : "about to try", because(upstream)],
    half_open: ["Half open", `${upstream?.permits} probes under way, ${upstream?.calls} answered`, `A few jobs are let through to see. ${because(upstream)}`],
    forced_open: ["Open", "by hand, until somebody closes it", ""],
    disabled: ["Disabled", "calls go through, nothing is counted", ""],
  }[state];
  $("breaker").dataset.state = left > 0 ? "ramp" : state;
  set($("state"), name);
  set($("next"), next);
  set($("why"), why);
}

const because = (upstream) => (upstream?.reason ? `Why: ${upstream.reason}.` : "");

function showMood({ down, error_rate, latency_ms }) {
  $("down").checked = down;
  $("error-rate").value = error_rate;
  $("latency").value = latency_ms;
  showValues();
}

// --- the chart -----------------------------------------------------------------------------------

function draw({ at, seconds }, state) {
  states.set(at, state);
  for (const second of states.keys()) if (second <= at - SECONDS) states.delete(second);
  const shown = seconds.filter((second) => second.at > at - SECONDS);
  const most = Math.max(10, ...shown.map(({ received }) => received));
  const parts = [];
  const bar = (kind, second, from, height) => {
    const rect = document.createElementNS(SVG, "rect");
    const whole = kind.startsWith("was");
    const place = { x: (second - at + SECONDS - 1) * 10, y: 120 - from - height, width: whole ? 10 : 8, height };
    for (const [name, value] of Object.entries(place)) rect.setAttribute(name, value);
    rect.setAttribute("class", kind);
    parts.push(rect);
  };
  for (const [second, was] of states) {
    if (was === "open" || was === "forced_open") bar("was-open", second, 0, 120);
    if (was === "half_open") bar("was-half_open", second, 0, 120);
  }
  for (const { at: second, received, failed } of shown) {
    const scale = 112 / most;
    bar("failed", second, 0, failed * scale);
    bar("answered", second, failed * scale, (received - failed) * scale);
  }
  $("chart").replaceChildren(...parts);
  const calls = shown.reduce((sum, { received }) => sum + received, 0);
  const failed = shown.reduce((sum, second) => sum + second.failed, 0);
  set($("calls-words"), `${calls} calls in the last minute, ${failed} of them failed.`);
  set($("peak"), `highest bar: ${Math.max(0, ...shown.map(({ received }) => received))} in a second`);
}

// --- controls ------------------------------------------------------------------------------------

function showValues() {
  set($("error-rate-shown"), `${$("error-rate").value} %`);
  set($("latency-shown"), `${(Number($("latency").value) / 1000).toFixed(2)} s`);
}

function change() {
  touched = Date.now();
  showValues();
  notice("");
  const mood = { down: $("down").checked, error_rate: Number($("error-rate").value), latency_ms: Number($("latency").value) };
  sending += 1;
  sent = sent
    .then(() => ask("lab/shop", { method: "PUT", body: JSON.stringify(mood), headers: { "Content-Type": "application/json" } }))
    .catch((error) => notice(error.message))
    .finally(() => {
      sending -= 1;
      touched = Date.now();
    });
}

for (const id of ["down", "error-rate", "latency"]) $(id).onchange = change;
for (const id of ["error-rate", "latency"]) $(id).oninput = () => {
  touched = Date.now();
  showValues();
};

$("order").onclick = async () => {
  notice("");
  $("order").disabled = true;
  try {
    await ask("lab/prints", { method: "POST" });
  } catch (error) {
    notice(error.message);
  }
  $("order").disabled = false;
};

function notice(words) {
  set($("notice"), words);
  $("notice").hidden = !words;
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The lab does not answer; is it still running?");
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(typeof problem.detail === "string" ? problem.detail : `The lab answered with ${answer.status}.`);
  }
  if (answer.status === 204) return null;
  return (answer.headers.get("content-type") ?? "").includes("json") ? answer.json() : answer.text();
}

ask("lab/prints/source").then((text) => $("source").replaceChildren(...colour(text.trimEnd()))).catch(() => {});
look();
