-- Take the moved jobs out of the live ones.
DELETE FROM headrace_job AS job WHERE n IN (SELECT n FROM temp.settling)
