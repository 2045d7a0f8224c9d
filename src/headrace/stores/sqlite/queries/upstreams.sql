-- What the fleet knows of each upstream.
SELECT name, document FROM headrace_upstream AS upstream
