-- Make jobs of messages and move bookmarks, all or nothing; guard: the bookmarks stand where the messages begin.
SELECT added, moved, moved_to FROM headrace_receive_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
    $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30)
