-- What of a server's settings and state a doctor looks at.
SELECT current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean, current_setting('fsync')::boolean,
    current_setting('full_page_writes')::boolean, current_setting('synchronous_commit'),
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::integer,
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer,
    pg_has_role('pg_read_all_stats', 'USAGE'), clock_timestamp()
