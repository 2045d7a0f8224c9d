-- Put an event into an outbox.
INSERT INTO headrace_outbox (sink, id, at, key, target, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
