-- One fact about the database.
SELECT value FROM headrace_meta AS meta WHERE key = $1
