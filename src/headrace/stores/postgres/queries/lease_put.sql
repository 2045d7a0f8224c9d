-- Give a worker its lease; who holds it stays the same where nobody is named.
INSERT INTO headrace_lease AS lease (worker, ends_at, lasts, holder, held_since)
VALUES ($1, coalesce($2::timestamptz, clock_timestamp()) + $3 * interval '1 second', $3 * interval '1 second', $4,
    pg_postmaster_start_time())
ON CONFLICT (worker) DO UPDATE SET ends_at = excluded.ends_at, lasts = excluded.lasts, holder = coalesce(excluded.holder, lease.holder),
    held_since = CASE WHEN excluded.holder IS NULL THEN lease.held_since ELSE excluded.held_since END
RETURNING holder
