-- Let an Idempotency-Key go: its request failed.
DELETE FROM headrace_idempotency AS idempotency WHERE scope = $1 AND key = $2
