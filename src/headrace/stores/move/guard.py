"""What keeps others out of a database while jobs move into it: triggers, for every session but the mover's.

Claims and chores find nothing to change, and nobody gets a chore, so that no event is sent from here; who
adds, cancels, retries or edits jobs, brings messages or publishes events is refused as unavailable. So
workers and APIs may be started before the jobs are there.
"""

from typing import Final

SETTING: Final = "headrace.move"  # of a session: the move that it is of
_FUNCTION: Final = "headrace_move_guard"
_BODY: Final = f"""CREATE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_ARGV[0] = 'skip' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'jobs are moving in' USING ERRCODE = 'HR002';
END $$"""

# By name: of several triggers the first in the alphabet runs first, and a refusal goes before a skip.
_TRIGGERS: Final = {
    "headrace_move_refuse_insert": "BEFORE INSERT ON headrace_job FOR EACH STATEMENT",
    "headrace_move_refuse_key": "BEFORE INSERT ON headrace_job_key FOR EACH STATEMENT",
    "headrace_move_refuse_delete": "BEFORE DELETE ON headrace_job FOR EACH ROW",
    "headrace_move_refuse_cancel": "BEFORE UPDATE OF cancelling ON headrace_job FOR EACH ROW",
    "headrace_move_refuse_edit": "BEFORE UPDATE OF args ON headrace_history FOR EACH ROW",
    "headrace_move_refuse_event": "BEFORE INSERT ON headrace_outbox FOR EACH STATEMENT",
    "headrace_move_refuse_bookmark": "BEFORE INSERT OR UPDATE OR DELETE ON headrace_bookmark FOR EACH STATEMENT",
    "headrace_move_skip_event": "BEFORE UPDATE OR DELETE ON headrace_outbox FOR EACH ROW",
    "headrace_move_skip_seen": "BEFORE UPDATE OR DELETE ON headrace_seen FOR EACH ROW",
    "headrace_move_skip_promise": "BEFORE DELETE ON headrace_promise FOR EACH ROW",
    "headrace_move_skip_chore": "BEFORE INSERT OR UPDATE ON headrace_chore FOR EACH ROW",
    "headrace_move_skip_job": "BEFORE UPDATE ON headrace_job FOR EACH ROW",
    "headrace_move_skip_history": "BEFORE UPDATE OR DELETE ON headrace_history FOR EACH ROW",
}


def close(move_id: str) -> list[str]:
    """The statements that keep others out."""
    other = f"current_setting('{SETTING}', true) IS DISTINCT FROM '{move_id}'"
    return [
        open_up(),
        _BODY,
        *(
            f"CREATE TRIGGER {name} {when} WHEN ({other}) EXECUTE FUNCTION {_FUNCTION}('{name.split('_')[2]}')"
            for name, when in _TRIGGERS.items()
        ),
    ]


def open_up() -> str:
    """The statement that lets others in again."""
    return f"DROP FUNCTION IF EXISTS {_FUNCTION}() CASCADE"
