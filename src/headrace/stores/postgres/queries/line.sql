-- The number of a line and of its queue; made if they are new.
SELECT line, queue FROM headrace_line_1($1::text, $2::text, $3::text, $4::integer)
