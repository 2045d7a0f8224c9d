-- What a lane's number means.
SELECT queue.name, lane.task, lane.key FROM headrace_lane AS lane JOIN headrace_queue AS queue ON queue.id = lane.queue WHERE lane.id = ?1
