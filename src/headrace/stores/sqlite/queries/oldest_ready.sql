-- Since when the longest ready job of each queue is ready.
SELECT queue.name, min(job.seq) FROM headrace_job AS job CROSS JOIN headrace_lane AS lane ON lane.id = job.lane
    CROSS JOIN headrace_queue AS queue ON queue.id = lane.queue
WHERE job.state = 1 GROUP BY queue.name
