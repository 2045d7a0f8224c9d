-- How many live jobs each queue has in each state.
SELECT queue.name, c.state, sum(c.jobs) FROM (SELECT lane, state, count(*) AS jobs FROM headrace_job AS job GROUP BY lane, state) AS c
    CROSS JOIN headrace_lane AS lane ON lane.id = c.lane CROSS JOIN headrace_queue AS queue ON queue.id = lane.queue
GROUP BY queue.name, c.state
