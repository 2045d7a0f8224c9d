// The bodies of the jobs, and the marks that they leave: the same files as those of the Python peers.
import { appendFileSync, existsSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const FOLDER = process.env.HEADRACE_BENCH_FOLDER ?? ".";
export const URL = process.env.PEER_URL;
const FLUSH_MS = 4;
const HOLD_S = 120;

// Seconds on the clock that all processes of the machine share.
export const now = () => Number(process.hrtime.bigint()) / 1e9;

// Count, first and last hit; Node cannot map a file, so it is written when something has changed.
export class Meter {
  constructor(name) {
    this.cells = new Float64Array(3);
    this.file = openSync(join(FOLDER, name), "w");
    this.timer = undefined;
  }

  hit(times = 1) {
    const at = now();
    if (this.cells[0] === 0) this.cells[1] = at;
    this.cells[2] = at;
    this.cells[0] += times;
    this.timer ??= setTimeout(() => this.flush(), FLUSH_MS);
  }

  flush() {
    this.timer = undefined;
    writeSync(this.file, new Uint8Array(this.cells.buffer), 0, 24, 0);
  }
}

// How many bodies have started, in all processes.
export function started() {
  let count = 0;
  for (const name of readdirSync(FOLDER)) {
    if (!name.startsWith("meter-")) continue;
    const bytes = readFileSync(join(FOLDER, name));
    if (bytes.length >= 24) count += bytes.readDoubleLE(0);
  }
  return count;
}

let meter;
const hit = () => (meter ??= new Meter(`meter-${process.pid}`)).hit();

export const tasks = {
  noop: async () => hit(),
  sleep_1: async () => {
    hit();
    await sleep(1);
  },
  sleep_10: async () => {
    hit();
    await sleep(10);
  },
  stamp: async ({ n }) => appendFileSync(join(FOLDER, `stamps-${process.pid}`), `${now() - n}\n`),
  hold: async ({ n }) => {
    appendFileSync(join(FOLDER, `started-${n}`), `${process.pid} ${now()}\n`);
    const until = now() + HOLD_S;
    while (!existsSync(join(FOLDER, `release-${n}`)) && now() < until) await sleep(20);
  },
};
