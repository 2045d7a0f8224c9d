-- What is known of an Idempotency-Key.
SELECT fingerprint, answer, begun_at, coalesce($3::timestamptz, clock_timestamp()) FROM headrace_idempotency AS idempotency WHERE scope = $1 AND key = $2
