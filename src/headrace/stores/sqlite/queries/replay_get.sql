-- What is known of an Idempotency-Key; guard: within its retention.
SELECT fingerprint, answer, expires_at FROM headrace_idempotency AS idempotency WHERE scope = ?1 AND key = ?2 AND expires_at > ?3
