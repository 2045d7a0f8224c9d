// Puts jobs into graphile-worker: the modes of bench/peers/producer.py. Says what it did as one line of JSON, its last.
import { Logger, makeWorkerUtils } from "graphile-worker";
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { Meter, now, started, URL } from "./bodies.mjs";

const BULK = 500;
const BACKLOG = 5000;
const LOOPS = 4;
const names = ["task", "count", "callers", "number", "seconds", "every", "rate"];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: Object.fromEntries(names.map((name) => [name, { type: "string" }])),
});
const task = values.task ?? "noop";
const [count, callers, number] = ["count", "callers", "number"].map((name) => Number(values[name] ?? 0));
const [seconds, every, rate] = ["seconds", "every", "rate"].map((name) => Number(values[name] ?? 0));

const utils = await makeWorkerUtils({
  connectionString: URL,
  maxPoolSize: 20,
  logger: new Logger(() => () => {}),
});
const one = (name, n) => utils.addJob(name, { n });
const many = (name, size, first = 0) =>
  utils.addJobs(Array.from({ length: size }, (_, at) => ({ identifier: name, payload: { n: first + at } })));

async function together(loops, size, call) {
  let added = 0;
  await Promise.all(Array.from({ length: loops }, call)); // connects
  const from = now();
  const loop = async () => {
    while (now() < from + seconds) {
      await call();
      added += size;
    }
  };
  await Promise.all(Array.from({ length: loops }, loop));
  return { count: added, elapsed_s: now() - from };
}

const modes = {
  prepare: async () => {
    await utils.migrate();
    return {};
  },
  hold: async () => {
    await one("hold", number);
    return {};
  },
  fill: async () => {
    const from = now();
    for (let first = 0; first < count; first += BULK) await many(task, Math.min(BULK, count - first), first);
    return { count, elapsed_s: now() - from };
  },
  one: () => together(1, 1, () => one("noop", 1)),
  callers: () => together(callers, 1, () => one("noop", 1)),
  bulk: () => together(1, BULK, () => many("noop", BULK)),
  sustain: async () => {
    const added = new Meter("added");
    const until = now() + seconds;
    const loop = async () => {
      while (now() < until) {
        if (added.cells[0] - started() > BACKLOG) {
          await sleep(5);
          continue;
        }
        await many("noop", 100);
        added.hit(100);
      }
    };
    await Promise.all(Array.from({ length: LOOPS }, loop));
    return { count: added.cells[0] };
  },
  load: async () => {
    const from = now();
    let sent = 0;
    while (now() - from < seconds) {
      const due = Math.min(Math.floor((now() - from) * rate) - sent, BULK);
      if (due > 0) {
        await many("noop", due);
        sent += due;
      }
      await sleep(10);
    }
    return { count: sent, elapsed_s: now() - from };
  },
  pickup: async () => {
    await one("noop", 0); // connects
    let due = now();
    for (let sent = 0; sent < count; sent += 1) {
      due += every;
      await sleep(Math.max(0, (due - now()) * 1000));
      await one("stamp", now());
    }
    return { count };
  },
};

const told = await modes[positionals[0]]();
await utils.release();
console.log(JSON.stringify(told));
