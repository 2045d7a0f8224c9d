-- Every queue.
SELECT name, paused FROM headrace_queue AS queue ORDER BY name
