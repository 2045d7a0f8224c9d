-- Promise to tell when a job has ended.
INSERT INTO headrace_promise (job, name) VALUES (?1, ?2) ON CONFLICT (job, name) DO NOTHING
