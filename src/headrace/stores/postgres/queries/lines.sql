-- What lines' numbers mean.
SELECT line.id, line.queue, queue.name, line.task, line.key, line.priority
FROM headrace_line AS line JOIN headrace_queue AS queue ON queue.id = line.queue WHERE line.id = ANY ($1::integer[])
