-- Promises beyond one, in order, so many of them; and whether their jobs have ended.
SELECT job, name, ended FROM headrace_promised_1($1, $2, $3)
