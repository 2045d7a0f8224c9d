-- Take an ended job out of the live ones.
DELETE FROM headrace_job AS job WHERE n = ?1
