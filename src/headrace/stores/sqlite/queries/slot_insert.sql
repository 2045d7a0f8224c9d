-- An attempt takes a slot of a limit; another attempt of its job had it before.
INSERT INTO headrace_slot (scope, job, fence) VALUES (?1, ?2, ?3)
ON CONFLICT (scope, job) DO UPDATE SET fence = excluded.fence
