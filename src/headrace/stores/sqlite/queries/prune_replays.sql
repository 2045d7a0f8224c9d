-- Forget Idempotency-Keys that are past their retention.
DELETE FROM headrace_idempotency AS idempotency WHERE (scope, key) IN (SELECT scope, key FROM headrace_idempotency AS idempotency WHERE expires_at <= ?1 LIMIT ?2)
