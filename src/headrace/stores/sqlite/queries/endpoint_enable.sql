-- Send to an endpoint again.
DELETE FROM headrace_endpoint AS endpoint WHERE name = ?1
