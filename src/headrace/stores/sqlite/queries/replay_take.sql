-- Take an Idempotency-Key; the caller has seen that it is free.
INSERT INTO headrace_idempotency (scope, key, fingerprint, expires_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (scope, key) DO UPDATE SET fingerprint = excluded.fingerprint, expires_at = excluded.expires_at,
    answer = NULL
