-- The number of a source.
SELECT id FROM headrace_source AS source WHERE name = ?1
