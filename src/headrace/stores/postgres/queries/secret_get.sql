-- A secret by name.
SELECT value FROM headrace_secret AS secret WHERE name = $1
