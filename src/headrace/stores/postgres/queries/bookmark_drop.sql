-- Forget how far a source has read in a part.
DELETE FROM headrace_bookmark AS bookmark WHERE source = (SELECT id FROM headrace_source WHERE name = $1) AND part = $2
