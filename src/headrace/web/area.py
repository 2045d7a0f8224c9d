"""What the parts of the HTTP API have in common."""

from fastapi import Request

from headrace.app import Headrace
from headrace.web.auth import Guard


class Area:
    """Some of the routes, of one Headrace, behind one guard."""

    def __init__(self, hr: Headrace, guard: Guard) -> None:
        """Nothing is opened before the first request."""
        self._hr = hr
        self._guard = guard

    async def _allowed(self, request: Request, scope: str) -> None:
        await self._hr.open()
        await self._guard.allowed(request, scope)
