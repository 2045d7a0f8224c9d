-- Set a part's bookmark, whatever it is.
INSERT INTO headrace_bookmark (source, part, next, last_ms) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (source, part) DO UPDATE SET next = excluded.next, last_ms = excluded.last_ms
