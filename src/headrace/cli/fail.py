"""How a command says that it cannot go on."""


class Fail(Exception):
    """Ends the command: `headrace: <what>; <remedy>` on stderr, and the exit code."""

    def __init__(self, what: str, remedy: str = "", *, code: int = 1, detail: str = "") -> None:
        """`detail` goes before the line: the user's own traceback."""
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.code = code
        self.detail = detail
