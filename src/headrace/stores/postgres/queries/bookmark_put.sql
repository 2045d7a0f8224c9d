-- Set where a source goes on in a part.
INSERT INTO headrace_bookmark AS bookmark (source, part, next) VALUES (headrace_source_1($1), $2, $3)
ON CONFLICT (source, part) DO UPDATE SET next = excluded.next, last_ms = NULL
