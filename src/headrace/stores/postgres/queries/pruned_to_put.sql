-- Ended jobs up to this instant count as deleted; it only rises.
INSERT INTO headrace_meta AS meta (key, value) VALUES ('pruned_to', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value
WHERE meta.value::timestamptz < excluded.value::timestamptz
