"""The move of all jobs from a SQLite file to PostgreSQL, while both are in use; see ADR 14.

`source` is the file, `target` the database, `rows` what becomes of a row, `compare` the proof that
both have the same, `mover` the stages.
"""

from headrace.stores.move.mover import Moved, Mover, Stage, give_up
from headrace.stores.move.source import Source
from headrace.stores.move.target import Target

__all__ = ["Moved", "Mover", "Source", "Stage", "Target", "give_up"]
