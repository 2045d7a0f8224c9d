-- Remember that an event was published; guard: it was not, or so long ago that it no longer counts.
INSERT INTO headrace_seen AS seen (source, digest, at) VALUES (?1, ?2, ?3)
ON CONFLICT (source, digest) DO UPDATE SET at = excluded.at WHERE seen.at <= ?4
