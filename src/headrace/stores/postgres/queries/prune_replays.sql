-- Forget Idempotency-Keys that are past their retention.
DELETE FROM headrace_idempotency AS idempotency WHERE (scope, key) IN (
    SELECT scope, key FROM headrace_idempotency WHERE expires_at <= coalesce($1::timestamptz, statement_timestamp()) LIMIT $2
) RETURNING 1
