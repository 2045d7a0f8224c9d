-- The non-empty lines and where their first ready jobs stand; in the known ones above their floors.
SELECT suspect, line, seq FROM headrace_survey_1(0::smallint, $1::integer[], $2::bigint[])
