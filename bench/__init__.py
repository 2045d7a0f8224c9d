"""Every figure of the docs, measured beside the raw floor of the same run.

`python -m bench [--json PATH] [names…]` prints a table and writes flat keys. Each figure runs the
program as users run it (`headrace worker`, in its own processes); the floor does the same rows
through `sqlite3` with the same durability and batch, and the same number of bare asyncio tasks.
"""
