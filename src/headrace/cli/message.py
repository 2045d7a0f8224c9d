"""`headrace jobs message`: the raw bytes of a message that did not fit its task."""

import sys
from typing import TYPE_CHECKING

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.params import job_id
from headrace.cli.reach import Where, opened, store_options, waits
from headrace.core.ids import as_uuid

if TYPE_CHECKING:
    from headrace.core.model import JobId


@click.command("message")
@click.argument("job", type=job_id, metavar="JOB")
@store_options
@waits
async def message_command(where: Where, *, job: "JobId") -> None:
    """The bytes of the message that JOB was made of, as they came, to stdout.

    Of a message that fitted its task nothing is kept but the arguments: `headrace jobs show`.
    """
    from headrace.app.bridging import post_of

    async with opened(where) as hr:
        letter = await post_of(hr).letter(job)
    if letter is None:
        raise Fail(
            f"no message is kept with the job {as_uuid(job)}",
            "it fitted its task, or is not in this store: see `headrace jobs list --tag letter`",
        )
    sys.stdout.buffer.write(letter.body)
    sys.stdout.flush()
    what = f"{letter.size:,} bytes from {letter.source}{f' at {letter.place}' if letter.place else ''}"
    kept = f"; only the first {len(letter.body):,} are kept" if letter.truncated else ""
    output.note(f"headrace: {what}, content type {letter.content_type or 'none'}{kept}: {letter.why}")
