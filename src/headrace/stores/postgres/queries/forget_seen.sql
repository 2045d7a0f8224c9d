-- Forget digests that are old, at most so many.
SELECT seen.at FROM headrace_forget_1(
    (SELECT id FROM headrace_source WHERE name = $2), $5, coalesce($1::timestamptz, clock_timestamp()) - $3 * interval '1 second', $4
) AS seen (at)
