-- Add jobs, all or none; guard: no id is live or ended, no key is held.
SELECT states, landed, ends, created, clash, holder
FROM headrace_enqueue_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
