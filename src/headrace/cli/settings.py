"""`headrace settings`: every `HEADRACE_*` setting, its value and where that comes from; also the page of them."""

import os
from typing import TYPE_CHECKING, Any, Final, cast

import click

from headrace.cli import output
from headrace.cli.params import json_option

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PAGE_COMMAND: Final = "headrace settings --markdown > docs/reference/settings.md"
GROUPS: Final = {
    "store": "Store",
    "concurrency": "Worker",
    "retention_s": "Retention",
    "args_bytes_max": "Sizes",
    "rabbitmq_url": "Brokers",
    "auth": "Access",
    "heartbeat_s": "Live feed",
    "metrics_port": "Metrics",
    "log_level": "Log",
}
"""The first setting of each section of the page, and the section's title."""

URLS: Final = frozenset({"store", "listen_url", "notifier", "rabbitmq_url", "kafka_servers", "nats_url", "redis_url"})
"""Settings that may have a password in them."""


@click.command("settings")
@json_option
@click.option("--markdown", is_flag=True, help="The reference page, as docs/reference/settings.md holds it.")
def settings_command(*, as_json: bool, markdown: bool) -> None:
    """Every HEADRACE_* setting, its value here, and where that comes from."""
    if markdown:
        click.echo(page(), nl=False)
        return
    from headrace.settings import PREFIX, Settings

    now = Settings()
    rows: list[dict[str, Any]] = []
    for name, field in Settings.model_fields.items():
        variable = f"{PREFIX}{name.upper()}"
        value = getattr(now, name)
        rows.append(
            {
                "variable": variable,
                "value": _value(name, value),
                "source": "environment" if os.environ.get(variable) else "default",
                "about": field.description,
            }
        )
    if as_json:
        output.write_json({"settings": rows})
    else:
        output.table(("variable", "value", "source"), [tuple(row.values())[:3] for row in rows], empty="")


def _value(name: str, value: Any) -> Any:
    """As it may be printed."""
    from headrace.stores.urls import shown_url

    if name.startswith("secret") and value is not None:
        return "(hidden)"
    return shown_url(value) if name in URLS and value is not None else value


def page() -> str:
    """The reference page of the settings."""
    from headrace.settings import PREFIX, Settings

    lines = [
        "# Settings",
        "",
        "Each is an environment variable, or a keyword of `Settings`: `Headrace(settings=Settings(lease_s=20))`. Names",
        "that end in `_s` are seconds, in `_bytes_max` bytes. `headrace settings` shows the values that hold where you",
        "are, and `headrace doctor` names variables that are misspelt.",
        "",
        f"This page is made from `settings.py`: `{PAGE_COMMAND}`.",
    ]
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            lines += ["", f"## {GROUPS[name]}", "", "| variable | default | |", "|---|---|---|"]
        lines.append(f"| `{PREFIX}{name.upper()}` | {_default(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _default(field: "FieldInfo") -> str:
    extra: Any = field.json_schema_extra
    if isinstance(extra, dict):
        return str(cast("dict[str, object]", extra)["default"])
    value: Any = field.get_default()
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
