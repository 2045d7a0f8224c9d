-- Revoke an API key, once.
UPDATE headrace_api_key AS api_key SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1
