-- Keep the answer to repeat.
UPDATE headrace_idempotency AS idempotency SET answer = $3 WHERE scope = $1 AND key = $2
