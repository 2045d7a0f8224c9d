-- Endpoints to which nothing is sent.
SELECT name, why, disabled_at FROM headrace_endpoint AS endpoint ORDER BY name
