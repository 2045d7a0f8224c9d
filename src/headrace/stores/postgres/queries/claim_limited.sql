-- Claim jobs of tasks that have limits; guards: still ready, and what the limits' locked scopes leave room for.
SELECT * FROM headrace_claim_limited_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
