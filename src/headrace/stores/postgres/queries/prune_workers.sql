-- Forget workers that are gone and that no kept attempt can name any more.
DELETE FROM headrace_worker AS worker WHERE gone_at <= $1
