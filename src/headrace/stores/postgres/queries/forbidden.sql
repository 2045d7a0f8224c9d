-- What of ours this user may not use as the store does; partitions are used by way of their table, except the default one.
WITH home AS MATERIALIZED (
    SELECT relnamespace AS schema FROM pg_class WHERE relname = 'headrace_schema_migration' AND pg_table_is_visible(oid)
)
SELECT c.relname FROM home JOIN pg_class AS c ON c.relnamespace = home.schema
WHERE c.relname ~ '^headrace_' AND CASE
    WHEN c.relname = 'headrace_schema_migration' THEN NOT has_table_privilege(c.oid, 'SELECT')
    WHEN c.relkind = 'S' THEN c.relname IN ('headrace_place', 'headrace_claim', 'headrace_slot_n_seq', 'headrace_outbox_place') AND NOT has_sequence_privilege(c.oid, 'USAGE')
    WHEN c.relkind IN ('r', 'p') AND (NOT c.relispartition OR c.relname = 'headrace_history_other') THEN NOT (
        has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
        AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')
    )
    ELSE false
END
UNION ALL
SELECT f.proname FROM home JOIN pg_proc AS f ON f.pronamespace = home.schema
WHERE f.proname ~ '^headrace_' AND NOT has_function_privilege(f.oid, 'EXECUTE')
ORDER BY 1
