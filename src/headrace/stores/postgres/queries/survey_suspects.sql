-- The non-empty lines of suspects: few, and apart in the index from all that is innocent.
SELECT suspect, line FROM headrace_survey_1(1::smallint, '{}', '{}')
