-- Keep an attempt that ended otherwise than in success.
INSERT INTO headrace_attempt (n, fence, attempt, worker, started_at, ended_at, outcome, failure) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
