-- Take an Idempotency-Key that is free or past its retention; no row: it is neither.
INSERT INTO headrace_idempotency AS known (scope, key, fingerprint, begun_at, expires_at)
SELECT $1, $2, $3, now.at, now.at + $4 * interval '1 second' FROM (SELECT coalesce($5::timestamptz, clock_timestamp()) AS at) AS now
ON CONFLICT (scope, key) DO UPDATE SET fingerprint = excluded.fingerprint, begun_at = excluded.begun_at,
    expires_at = excluded.expires_at, answer = NULL
WHERE known.expires_at <= excluded.begun_at
RETURNING begun_at
