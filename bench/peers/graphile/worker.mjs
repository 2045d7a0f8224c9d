// graphile-worker's runner: as it comes, or (PEER_FAST=24: so many at a time) with the local queue and the batches of its documentation.
import { run, Logger } from "graphile-worker";
import { tasks, URL } from "./bodies.mjs";

const atATime = Number(process.env.PEER_FAST ?? 1);
const fast = {
  concurrentJobs: atATime,
  maxPoolSize: atATime + 2,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};
const quiet = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});
const runner = await run({
  preset: { worker: { connectionString: URL, logger: quiet, ...(process.env.PEER_FAST ? fast : {}) } },
  taskList: tasks,
});
await runner.promise;
