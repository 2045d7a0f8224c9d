"""The application's side: what users hold, and where concrete adapters are named."""

from headrace.app.headrace import Headrace
from headrace.app.job import Job, JobAnswer, Update
from headrace.app.task import BoundTask, Call, Task
from headrace.app.upstream import Upstream
from headrace.app.webhooks import Webhook

__all__ = ["BoundTask", "Call", "Headrace", "Job", "JobAnswer", "Task", "Update", "Upstream", "Webhook"]
