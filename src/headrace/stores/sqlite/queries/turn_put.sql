-- A job has started in an ordered lane.
INSERT INTO headrace_limit (scope, holder) VALUES (?1, ?2) ON CONFLICT (scope) DO UPDATE SET holder = excluded.holder
