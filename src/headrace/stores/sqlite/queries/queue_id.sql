-- The number of a queue.
SELECT id FROM headrace_queue AS queue WHERE name = ?1
