-- Where a source's bookmarks stand.
SELECT part, next, last_ms FROM headrace_bookmark AS bookmark
WHERE source = (SELECT id FROM headrace_source AS source WHERE name = ?1)
