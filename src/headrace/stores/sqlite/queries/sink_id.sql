-- The number of a sink.
SELECT id FROM headrace_sink AS sink WHERE name = ?1
