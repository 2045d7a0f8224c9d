-- How many ended jobs each queue has in each state.
SELECT queue.name, c.state, sum(c.jobs)::bigint FROM (
        SELECT line, state, count(*) AS jobs FROM headrace_history AS history WHERE finished_at > headrace_pruned_to() GROUP BY line, state
    ) AS c JOIN headrace_line AS line ON line.id = c.line JOIN headrace_queue AS queue ON queue.id = line.queue
GROUP BY queue.name, c.state
