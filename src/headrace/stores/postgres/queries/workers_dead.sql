-- Workers to reap: named ones, and those whose lease ended; and those whose holder's lock is not held (last column).
SELECT worker.id, worker.id = ANY ($1::text[]) OR greatest(lease.ends_at, pg_postmaster_start_time() + lease.lasts) <= coalesce($2::timestamptz, clock_timestamp()), lease.holder
FROM headrace_worker AS worker JOIN headrace_lease AS lease ON lease.worker = worker.n
WHERE worker.gone_at IS NULL AND (
    worker.id = ANY ($1::text[]) OR greatest(lease.ends_at, pg_postmaster_start_time() + lease.lasts) <= coalesce($2::timestamptz, clock_timestamp())
    OR lease.holder IS NOT NULL AND lease.held_since = pg_postmaster_start_time() AND NOT EXISTS (
        SELECT FROM pg_locks AS held WHERE held.locktype = 'advisory' AND held.classid = $3::bigint::oid
            AND held.objid = lease.holder::bigint::oid AND held.objsubid = 2 AND held.granted
            AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
)
ORDER BY worker.id
