-- The message of which a job was made, if it did not fit its task.
SELECT source.name, why, content_type, headers, place, size, body
FROM headrace_letter AS letter JOIN headrace_source AS source ON source.id = letter.source WHERE letter.job = $1
