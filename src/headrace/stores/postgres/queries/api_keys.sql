-- Every API key, oldest first.
SELECT id, name, digest, scopes, created_at, revoked_at FROM headrace_api_key AS api_key ORDER BY created_at, id
