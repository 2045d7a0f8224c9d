-- Number a lane.
INSERT INTO headrace_lane (queue, task, key) VALUES (?1, ?2, ?3) RETURNING id
