-- Where a user's connection leads: which history of offsets, in which database; and the numbers of lines, NULL for new ones.
SELECT meta.value, current_database(), ARRAY(
    SELECT line.id FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[]) WITH ORDINALITY AS wanted (queue, task, key, priority, ord)
        LEFT JOIN headrace_queue AS queue ON queue.name = wanted.queue
        LEFT JOIN headrace_line AS line ON line.queue = queue.id AND line.task = wanted.task AND line.key = wanted.key
            AND line.priority = wanted.priority
    ORDER BY wanted.ord
)
FROM headrace_meta AS meta WHERE meta.key = 'epoch'
