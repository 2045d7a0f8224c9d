-- Extend a lease that has not ended, and read what somebody asked its worker to stop; no row: it has ended.
WITH known AS MATERIALIZED (
    SELECT n FROM headrace_worker AS worker WHERE id = $1 AND gone_at IS NULL
), renewed AS (
    UPDATE headrace_lease AS lease SET ends_at = coalesce($2::timestamptz, clock_timestamp()) + $3 * interval '1 second',
        lasts = $3 * interval '1 second', holder = $4, held_since = pg_postmaster_start_time()
    FROM known WHERE lease.worker = known.n 
        AND greatest(lease.ends_at, pg_postmaster_start_time() + lease.lasts) > coalesce($2::timestamptz, clock_timestamp())
    RETURNING lease.worker
)
SELECT renewed.worker, job.id, job.fence
FROM renewed LEFT JOIN headrace_job AS job ON job.cancelling AND job.worker = renewed.worker AND job.state + 0 = 2
