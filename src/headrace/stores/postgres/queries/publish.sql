-- Put events into outboxes, all or none; guard: (id, fence, running) of the attempt that does, if one does.
SELECT headrace_publish_1($1::timestamptz, $2::text::uuid, $3::integer, $4::double precision, $5::uuid[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::bytea[])
