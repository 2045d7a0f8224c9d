-- How far a source has read, by part.
SELECT part, next, last_ms FROM headrace_bookmark AS bookmark
WHERE source = (SELECT id FROM headrace_source WHERE name = $1)
