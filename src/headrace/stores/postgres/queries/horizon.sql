-- What keeps an old snapshot, the furthest behind first: sessions, prepared transactions, replication slots, standbys.
-- A running VACUUM keeps nobody back; of other roles' sessions the times are seen only by pg_read_all_stats.
SELECT kind, name, about, age_s, statement_s, behind FROM (
    SELECT 'session' AS kind, a.pid::text AS name,
        coalesce(nullif(a.application_name, ''), 'no application_name') || ' of ' || coalesce(a.usename, a.backend_type) ||
            coalesce(', ' || a.state, '') AS about,
        extract(epoch FROM clock_timestamp() - a.xact_start)::double precision AS age_s,
        extract(epoch FROM clock_timestamp() - a.query_start)::double precision AS statement_s,
        greatest(age(a.backend_xmin), age(a.backend_xid)) AS behind
    FROM pg_stat_activity AS a
    WHERE a.pid <> pg_backend_pid() AND (a.datname IS NULL OR a.datname = current_database()) AND a.leader_pid IS NULL
        AND a.backend_type NOT IN ('walsender', 'autovacuum worker')
        AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum AS v WHERE v.pid = a.pid)
    UNION ALL
    SELECT 'prepared', p.gid, p.owner, extract(epoch FROM clock_timestamp() - p.prepared)::double precision, NULL, age(p.transaction)
    FROM pg_prepared_xacts AS p WHERE p.database = current_database()
    UNION ALL
    SELECT CASE WHEN s.active THEN 'slot' ELSE 'idle slot' END, s.slot_name, s.slot_type, NULL, NULL, age(s.xmin)
    FROM pg_replication_slots AS s
    UNION ALL
    SELECT 'standby', r.pid::text, r.application_name, NULL, NULL, age(r.backend_xmin) FROM pg_stat_replication AS r
) AS held
WHERE behind IS NOT NULL ORDER BY behind DESC, name
