-- How far the server is: the last place drawn, then which transactions are under way, and since when it runs.
SELECT place, oldest, next, since FROM headrace_mark_1()
