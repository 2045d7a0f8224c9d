-- End attempts as their verdicts say; guard: (id, fence, running).
SELECT ord, line, suspect FROM headrace_end_1($1::timestamptz, $2::text::jsonb)
