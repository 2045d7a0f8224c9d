// The page's model of a photograph, as a browser would run it; test_page.py puts the two side by side.
import assert from "node:assert/strict";
import { test } from "node:test";

import { apply, newPhoto, ordered, pickedUp, recovery, restart } from "./model.js";

const AT = Date.parse("2026-01-02T03:04:05Z");
const at = (ms) => new Date(AT + ms).toISOString();
const update = (offset, kind, data, attempt, ms) => ({ position: `e:${offset}`, kind, data, attempt, at: at(ms) });
const LIFE = [
  update(1, "state", { state: "ready", attempt: 0 }, 0, 0),
  update(2, "state", { state: "running", attempt: 1 }, 1, 100),
  update(2, "progress", { done: 1, total: 6, message: "making thumb" }, 1, 150),
  update(3, "item", { key: "thumb", data: { file: "thumb.webp" } }, 1, 200),
  update(4, "state", { state: "ready", attempt: 1, outcome: "crashed" }, 1, 400),
  update(5, "state", { state: "running", attempt: 2 }, 2, 450),
  update(6, "item", { key: "small", data: { file: "small.webp" } }, 2, 600),
  update(7, "end", { state: "succeeded", result: {} }, 2, 700),
];

function lived(updates = LIFE) {
  const photo = newPhoto("j", "photo.jpg");
  for (const one of updates) apply(photo, one);
  return photo;
}

const told = ({ seen, log, ...photo }) => photo;

test("a life is told by its updates", () => {
  const photo = lived();
  assert.equal(photo.state, "succeeded");
  assert.equal(photo.position, "e:7");
  assert.deepEqual(Object.keys(photo.items), ["thumb", "small"]);
  assert.deepEqual(photo.attempts.map((one) => [one.attempt, one.outcome, one.started - AT, one.ended - AT]), [
    [1, "crashed", 100, 400],
    [2, "succeeded", 450, 700],
  ]);
});

test("repeated updates change nothing, wherever a reload cuts", () => {
  for (let cut = 0; cut <= LIFE.length; cut += 1) {
    const reloaded = JSON.parse(JSON.stringify(lived(LIFE.slice(0, cut))));
    for (const one of LIFE.slice(Math.max(0, cut - 3))) apply(reloaded, one);
    assert.deepEqual(told(reloaded), told(JSON.parse(JSON.stringify(lived()))), `cut at ${cut}`);
  }
});

test("an old update that comes again is known and changes nothing", () => {
  const photo = lived();
  for (const one of LIFE.filter(({ kind }) => kind !== "progress")) {
    const before = JSON.stringify(photo);
    assert.equal(apply(photo, one), false);
    assert.equal(JSON.stringify(photo), before);
  }
});

test("a snapshot tells the same as the updates that it stands for", () => {
  const photo = lived(LIFE.slice(0, 2));
  restart(photo, {
    job: { state: "running", attempt: 2, progress: null, error: null },
    items: [{ key: "thumb", data: { file: "thumb.webp" } }],
    attempts: [
      { attempt: 1, outcome: "crashed", started_at: at(100), ended_at: at(400) },
      { attempt: 2, outcome: "running", started_at: at(450), ended_at: null },
    ],
  }, "e:5");
  for (const one of LIFE.slice(6)) apply(photo, one);
  assert.deepEqual({ ...told(photo), progress: null }, { ...told(lived()), progress: null });
});

test("picked up again counts from the kill where the page saw it, else from the crash", () => {
  const photo = lived();
  assert.equal(pickedUp(photo, 0, []), 50);
  assert.equal(pickedUp(photo, 0, [{ at: AT + 250 }]), 200);
  assert.equal(pickedUp(photo, 0, [{ at: AT + 9000 }]), 50);
  assert.equal(pickedUp(photo, 1, []), null);
});

test("recovery counts the jobs that the kill hit, and not those that had just ended", () => {
  const back = { ...lived(), id: "a" };
  const down = { ...lived(LIFE.slice(0, 5)), id: "b" };
  const ended = { ...lived([...LIFE.slice(0, 4), update(5, "end", { state: "succeeded" }, 1, 240)]), id: "c" };
  const kill = { at: AT + 250, jobs: ["a", "b", "c"] };
  assert.deepEqual(recovery([back, down, ended], kill), { hit: 2, back: [200] });
});

test("a failure is shown until the next attempt runs", () => {
  const photo = lived(LIFE.slice(0, 2));
  apply(photo, update(3, "end", { state: "failed", error: { type: "BadPhoto", message: "damaged" } }, 1, 300));
  assert.equal(photo.error.message, "damaged");
  apply(photo, update(4, "state", { state: "ready", attempt: 1 }, 1, 400));
  apply(photo, update(5, "state", { state: "running", attempt: 2 }, 2, 500));
  assert.equal(photo.error, null);
  assert.deepEqual(photo.attempts.map((one) => one.outcome), ["failed", "running"]);
});

test("the newest drop comes first, and inside one the order of the drop", () => {
  const made = (ms, tail) => ({ id: (AT + ms).toString(16).padStart(12, "0") + tail });
  const [one, two, later] = [made(0, "b"), made(900, "a"), made(20_000, "c")];
  assert.deepEqual(ordered([later, two, one]), [later, one, two]);
});
