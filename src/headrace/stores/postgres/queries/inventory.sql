-- What there is of ours: tables, indexes, sequences and functions, whether each is fit for use and left to autovacuum.
WITH home AS MATERIALIZED (
    SELECT relnamespace AS schema FROM pg_class WHERE relname = 'headrace_schema_migration' AND pg_table_is_visible(oid)
)
SELECT c.relname::text, coalesce(i.indisvalid, true),
    coalesce(NOT lower(c.reloptions::text)::text[] && '{autovacuum_enabled=false,autovacuum_enabled=off}', true)
FROM home JOIN pg_class AS c ON c.relnamespace = home.schema LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
WHERE c.relname ~ '^headrace_'
UNION ALL
SELECT f.proname::text, true, true FROM home JOIN pg_proc AS f ON f.pronamespace = home.schema WHERE f.proname ~ '^headrace_'
ORDER BY 1
