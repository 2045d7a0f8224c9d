"""What the body of a message is for a task: how it becomes the arguments, as JSON text.

The body is spliced into the arguments as it came, and validated once. Invariant: it cannot give a parameter that is not
its own, whatever it says: what is validated is a list of exactly one value, or an object without the source's own part.
"""

import base64
import json
import re
import types
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, Final, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json

from headrace.core.errors import HeadraceError, InvalidConfig
from headrace.core.message import Message
from headrace.runtime.arguments import Parameter, fields_of
from headrace.runtime.encode import ARGUMENTS_CONFIG
from headrace.runtime.registry import TaskDef

FIELDS_MAX: Final = 5
WHY_CHARS_MAX: Final = 500
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_BOM: Final = "\ufeff"
_MESSAGE: Final[TypeAdapter[Message]] = TypeAdapter(Message)


class Unreadable(Exception):
    """A message that does not fit its task; `field` is by which part of it."""

    def __init__(self, why: str, field: str = "") -> None:
        """`why` is for people, and may quote the message."""
        super().__init__(why[:WHY_CHARS_MAX])
        self.field = field


class Mode(Enum):
    """What a task takes of the body."""

    NOTHING = 0
    VALUE = 1
    OBJECT = 2
    TEXT = 3
    BYTES = 4


class Payload:
    """How messages become arguments of one task."""

    __slots__ = ("_accept", "_bytes_max", "_head", "_message", "_name", "_task", "mode")

    def __init__(self, task: TaskDef) -> None:
        """By the rule: one required parameter takes the whole body, several take its members by name.

        Raises:
            InvalidConfig: the parameters leave it open.
        """
        self._task = task
        self._bytes_max = task.args_bytes_max
        self._message = _message_of(task)
        rest = [each for each in task.parameters if each.name != self._message]
        required = [each for each in rest if each.required]
        whole = rest if len(rest) == 1 else required if len(required) == 1 else []
        self._name = whole[0].name if whole else ""
        self.mode = _mode(whole, rest)
        self._head = f'{{"{self._name}":'
        self._accept = _accept(whole[0]) if self.mode is Mode.VALUE else None

    def of_json(self, body: bytes, message: Message) -> tuple[str, dict[str, Any]]:
        """The arguments as text and as values, of a body that is JSON.

        Raises:
            Unreadable: it is none, or does not fit.
        """
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise Unreadable(f"the body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}") from None
        if text.startswith(_BOM):
            text, body = text[1:], body[3:]
        _check(text)
        if self._accept is None:
            return self._object(text, body, message)
        try:
            (value,) = self._accept(b"[" + body + b"]")
        except ValidationError as error:
            raise self._misfit(error, body, listed=True) from None
        return self._spliced(text, value, message)

    def of_text(self, text: str, message: Message) -> tuple[str, dict[str, Any]]:
        """Of a body that is text.

        Raises:
            Unreadable: it does not fit.
        """
        quoted = json.dumps(text, ensure_ascii=False)
        if self.mode is Mode.TEXT:
            _check(quoted)
            return self._spliced(quoted, text, message)
        return self.of_json(quoted.encode(), message)

    def of_bytes(self, body: bytes, message: Message) -> tuple[str, dict[str, Any]]:
        """Of a body that the task takes as it is.

        Raises:
            Unreadable: it is too large.
        """
        return self._spliced(f'"{base64.urlsafe_b64encode(body).decode()}"', body, message)

    def of_nothing(self, message: Message) -> tuple[str, dict[str, Any]]:
        """Of a message without a body.

        Raises:
            Unreadable: the task needs one.
        """
        match self.mode:
            case Mode.NOTHING:
                return self._whole("{}", {}, message)
            case Mode.TEXT:
                return self.of_text("", message)
            case Mode.BYTES:
                return self.of_bytes(b"", message)
            case _:
                try:
                    return self.of_json(b"null", message)
                except Unreadable:
                    raise Unreadable("the message is empty") from None

    def of_values(self, found: Any, message: Message) -> tuple[str, dict[str, Any]]:
        """Of what a `decode=` has made: the value of the one parameter, or a mapping of several.

        Raises:
            Unreadable: it does not fit.
        """
        if self.mode is Mode.NOTHING:
            return self._whole("{}", {}, message)
        if self.mode is Mode.OBJECT and not isinstance(found, Mapping):
            raise Unreadable(f"decode= returned a {type(found).__name__}, and the task takes a mapping by name")
        named: dict[str, Any] = dict(found) if self.mode is Mode.OBJECT else {self._name: found}
        if self._message is not None:
            named[self._message] = _bare(message)
        try:
            text = self._task.encode_args((), named)
            return text, self._task.decode_args(text)
        except HeadraceError as error:
            raise Unreadable(str(error)) from None

    # -- parts ------------------------------------------------------------------------------------

    def _spliced(self, text: str, value: Any, message: Message) -> tuple[str, dict[str, Any]]:
        values = {self._name: value}
        if self._message is None:
            args = f"{self._head}{text}}}"
        else:
            args = f'{self._head}{text},"{self._message}":{_told(message)}}}'
            values[self._message] = _bare(message)
        self._check_size(args)
        return args, values

    def _object(self, text: str, body: bytes, message: Message) -> tuple[str, dict[str, Any]]:
        if self.mode is Mode.NOTHING:
            return self._whole("{}", {}, message)
        try:
            values = self._task.accept_args(body)
        except ValidationError as error:
            raise self._misfit(error, body, listed=False) from None
        if self._message is not None and self._message in values:
            raise Unreadable(f"{self._message}: is filled by the source; leave it out", self._message)
        return self._whole(text, values, message)

    def _whole(self, text: str, values: dict[str, Any], message: Message) -> tuple[str, dict[str, Any]]:
        if self._message is not None:
            rest = text.lstrip()[1:].lstrip()
            comma = "" if rest.startswith("}") else ","
            text = f'{{"{self._message}":{_told(message)}{comma}{rest}'
            values = {**values, self._message: _bare(message)}
        self._check_size(text)
        return text, values

    def _check_size(self, args: str) -> None:
        size = len(args)
        if size * 4 > self._bytes_max and (size := len(args.encode())) > self._bytes_max:
            raise Unreadable(f"{size:,} bytes of arguments, over the limit of {self._bytes_max:,}")

    def _misfit(self, error: ValidationError, body: bytes, *, listed: bool) -> Unreadable:
        try:
            from_json(body)
        except ValueError as wrong:
            return Unreadable(f"the body is not JSON: {wrong}" if body.strip() else "the message is empty")
        fields = fields_of(error)
        told: list[str] = []
        for name, why in fields[:FIELDS_MAX]:
            field = name.partition(".")[2] if listed else name
            told.append(f"{field}: {why}" if field else f"the body, which is {self._name}: {why}" if listed else why)
        if len(fields) > FIELDS_MAX:
            told.append(f"and {len(fields) - FIELDS_MAX} more")
        first = fields[0][0].partition(".")[2] if listed else fields[0][0]
        return Unreadable("; ".join(told), first)


def _message_of(task: TaskDef) -> str | None:
    """The parameter that the source fills with the message itself."""
    found = [each for each in task.parameters if _is_message(each.annotation)]
    if not found:
        return None
    if len(found) > 1 or found[0].required:
        raise InvalidConfig(
            f"task {task.name}: one parameter may take the message, as `{found[0].name}: Message | None = None`, since"
            " other callers have none to give"
        )
    return found[0].name


def _is_message(annotation: Any) -> bool:
    if annotation is Message:
        return True
    union = get_origin(annotation) in {Union, types.UnionType}
    return union and set(get_args(annotation)) == {Message, type(None)}


def _mode(whole: list[Parameter], rest: list[Parameter]) -> Mode:
    if not rest:
        return Mode.NOTHING
    if not whole:
        return Mode.OBJECT
    annotation = whole[0].annotation
    return Mode.TEXT if annotation is str else Mode.BYTES if annotation is bytes else Mode.VALUE


def _accept(parameter: Parameter) -> Any:
    """Validates JSON text of a list with the one value, as the arguments of the task are validated."""
    listed: Any = tuple[parameter.annotation]  # type: ignore[name-defined]  # pyright: ignore[reportInvalidTypeForm]
    adapter: TypeAdapter[Any] = TypeAdapter(listed, config=ARGUMENTS_CONFIG)
    return adapter.validator.validate_json


def _bare(message: Message) -> Message:
    return replace(message, body=b"") if message.body else message


def _told(message: Message) -> str:
    try:
        text = _MESSAGE.dump_json(_bare(message), exclude_defaults=True).decode()
    except (PydanticSerializationError, UnicodeError, ValueError) as error:
        raise Unreadable(f"its headers or its key are no text: {error}") from None
    _check(text)
    return text


def _check(text: str) -> None:
    """Refuse what JSON does not have, or no store can carry."""
    if "\\u0000" in text and _NUL.search(text):
        raise Unreadable("a text with a NUL character")
    if "NaN" in text or "Infinity" in text:
        try:
            json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            if isinstance(error, _Constant):
                raise Unreadable(f"the float {error}, which JSON does not have") from None


class _Constant(ValueError):
    """NaN or an infinity."""


def _refuse(name: str) -> None:
    raise _Constant(name)
