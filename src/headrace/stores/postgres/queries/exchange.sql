-- Settle ended attempts, then claim; guards: (id, fence, running), and still ready.
SELECT * FROM headrace_exchange_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
