-- Keep an API key's digest.
INSERT INTO headrace_api_key (id, name, digest, scopes, created_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, digest = excluded.digest, scopes = excluded.scopes,
    created_at = excluded.created_at, revoked_at = excluded.revoked_at
