-- Revoke an API key, once.
UPDATE headrace_api_key AS api_key SET revoked_at = coalesce(revoked_at, $2, clock_timestamp()) WHERE id = $1 RETURNING id
