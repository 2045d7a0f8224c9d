"""Durable background jobs for FastAPI that you can watch live."""

__all__: list[str] = []
