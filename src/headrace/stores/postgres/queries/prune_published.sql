-- Forget ids of events that were published once, long ago, at most so many.
SELECT seen.at FROM headrace_forget_1(0, '-infinity', $1, $2) AS seen (at)
