-- The keys of the items that a job's earlier attempts emitted.
SELECT key FROM headrace_feed AS feed WHERE n = ?1 AND key IS NOT NULL
