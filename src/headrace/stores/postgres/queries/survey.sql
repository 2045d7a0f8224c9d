-- The non-empty lines and where their first ready jobs stand.
SELECT suspect, line, seq FROM headrace_survey_1(0::smallint)
