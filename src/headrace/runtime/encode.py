"""Values to JSON text and nothing else: what JSON cannot carry is refused, never bent."""

import json
import re
from collections.abc import Callable

from pydantic import ConfigDict
from pydantic_core import PydanticSerializationError, SchemaSerializer, core_schema

from headrace.core.errors import NotEncodable, PayloadTooLarge
from headrace.core.model import Json

RESULT_CONFIG = ConfigDict(ser_json_inf_nan="constants", ser_json_bytes="base64", val_json_bytes="base64")
ARGUMENTS_CONFIG = ConfigDict(
    extra="forbid", ser_json_inf_nan="constants", ser_json_bytes="base64", val_json_bytes="base64"
)

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
PLAIN_JSON = core_schema.CoreConfig(ser_json_inf_nan="constants", ser_json_bytes="base64")
_ANYTHING = SchemaSerializer(core_schema.any_schema(), PLAIN_JSON)


def encode(value: object, what: str, bytes_max: int) -> Json:
    """Any value as JSON text, by what it is; `what` names it in errors.

    Raises:
        NotEncodable: JSON text cannot carry it.
        PayloadTooLarge: over `bytes_max` as UTF-8.
    """
    return encode_by(_ANYTHING.to_json, value, what, bytes_max)


def encode_by(dump: Callable[[object], bytes], value: object, what: str, bytes_max: int) -> Json:
    """`dump(value)` as JSON text, checked; see `encode`."""
    try:
        data = dump(value)
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        raise NotEncodable(f"{what}: {_reason(error)}") from error
    if len(data) > bytes_max:
        raise PayloadTooLarge(f"{what}: {len(data):,} bytes of JSON, over the limit of {bytes_max:,}")
    text = data.decode()
    if "\\u0000" in text and _NUL.search(text):
        raise NotEncodable(f"{what}: a text with a NUL character")
    if "NaN" in text or "Infinity" in text:
        json.loads(text, parse_constant=lambda name: _refuse_constant(what, name))
    return text


def _refuse_constant(what: str, name: str) -> None:
    raise NotEncodable(f"{what}: the float {name}, which JSON does not have")


def _reason(error: Exception) -> str:
    text = str(error)
    if "surrogates not allowed" in text:
        return "a text with a lone surrogate, which is not Unicode"
    if isinstance(error, RecursionError) or "Circular reference" in text:
        return "a value that contains itself, or is nested too deeply"
    return text.removeprefix("Error serializing to JSON: ").removeprefix("PydanticSerializationError: ")
