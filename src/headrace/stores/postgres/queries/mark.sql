-- How far the server is: the last place drawn, then which transactions there are, and since when it runs.
SELECT place, above, oldest, since FROM headrace_mark_1()
