-- About how many jobs the history has.
SELECT coalesce(sum(greatest(reltuples, relpages * 10)), 0)::bigint FROM pg_class
WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'headrace_history'::regclass)
