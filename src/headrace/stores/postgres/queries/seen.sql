-- What a server is, and what the user who asks may do there.
SELECT current_setting('server_version_num')::integer, split_part(current_setting('server_version'), ' ', 1), current_database()::text,
    quote_ident(current_user), quote_ident(current_schema()), coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
    quote_ident(ours.nspname), coalesce(has_table_privilege(ours.oid, 'SELECT'), false),
    coalesce(pg_has_role(ours.relowner, 'USAGE'), false), pg_is_in_recovery(),
    current_setting('transaction_read_only')::boolean
FROM (SELECT) AS here
-- Not to_regclass: until its transaction ends, a session believes that a name that was not there is not there.
LEFT JOIN (
    SELECT c.oid, n.nspname, c.relowner FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relname = 'headrace_schema_migration' AND pg_table_is_visible(c.oid)
) AS ours ON true
