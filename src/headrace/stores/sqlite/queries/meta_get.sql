-- One fact about the file.
SELECT value FROM headrace_meta AS meta WHERE key = ?1
