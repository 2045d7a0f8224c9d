-- The message that a job was made of.
SELECT source.name, letter.why, letter.content_type, letter.headers, letter.place, letter.size, letter.body
FROM headrace_letter AS letter JOIN headrace_source AS source ON source.id = letter.source WHERE letter.job = ?1
