-- Keep the message that a new job was made of.
INSERT INTO headrace_letter (job, source, why, content_type, headers, place, size, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
