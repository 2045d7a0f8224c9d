-- Whether a queue is held, and its lanes.
SELECT queue.paused, lane.id, lane.task FROM headrace_queue AS queue LEFT JOIN headrace_lane AS lane ON lane.queue = queue.id
WHERE queue.name = ?1 LIMIT ?2
