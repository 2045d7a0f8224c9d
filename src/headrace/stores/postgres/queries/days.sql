-- The days of the history: table and first instant, in order.
SELECT child.relname, to_date(right(child.relname, 8), 'YYYYMMDD') FROM pg_inherits AS tree JOIN pg_class AS child ON child.oid = tree.inhrelid
WHERE tree.inhparent = 'headrace_history'::regclass AND child.relname ~ '^headrace_history_[0-9]{8}$' ORDER BY child.relname
