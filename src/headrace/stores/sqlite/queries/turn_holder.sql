-- The live job that has its turn in an ordered lane, and where it stands.
SELECT job.id, job.state, job.suspect, job.lane
FROM headrace_limit AS turn CROSS JOIN headrace_job AS job ON job.id = turn.holder WHERE turn.scope = ?1
