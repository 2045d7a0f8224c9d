-- The non-empty lines of suspects: few, and apart in the index from all that is innocent.
SELECT job.suspect, job.line, min(job.seq) FROM headrace_job AS job WHERE job.state = 1 AND job.suspect > 0 GROUP BY job.suspect, job.line
