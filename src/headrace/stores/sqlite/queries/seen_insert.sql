-- Remember a digest; guard: it was not seen.
INSERT INTO headrace_seen (source, digest, at) VALUES (?1, ?2, ?3) ON CONFLICT (source, digest) DO NOTHING
