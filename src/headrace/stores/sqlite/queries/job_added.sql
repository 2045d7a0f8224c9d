-- The numbers of the jobs added since number ?1 was the last.
SELECT n FROM headrace_job AS job WHERE n > ?1
