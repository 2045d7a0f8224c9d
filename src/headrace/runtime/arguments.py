"""Arguments and results as JSON text, by the annotations of the task's function.

Invariant: what `Arguments.encode` lets through, `Arguments.decode` takes; it has tried.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NotRequired

import typing_extensions
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import SchemaSerializer

from headrace.core.errors import InvalidArguments, InvalidConfig, NotEncodable
from headrace.core.model import Json
from headrace.runtime.encode import ARGUMENTS_CONFIG, PLAIN_JSON, RESULT_CONFIG, encode, encode_by

ARGS_BYTES_MAX = 1 << 20
RESULT_BYTES_MAX = 1 << 20

_MESSAGES: Final = {"missing": "missing", "extra_forbidden": "there is no such parameter"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter that callers give."""

    name: str
    annotation: Any
    required: bool
    positional: bool


class Arguments:
    """The arguments of one task: bound to names, validated, as a JSON object."""

    __slots__ = ("_adapter", "_bytes_max", "_dump", "_injected", "_positional", "_signature", "_task", "_validator")

    def __init__(
        self, task: str, parameters: Sequence[Parameter], injected: frozenset[str] = frozenset(), bytes_max: int = 0
    ) -> None:
        """`injected` are parameters that callers may not give; `bytes_max` 0 is the default.

        Raises:
            InvalidConfig: an annotation that JSON arguments cannot have.
        """
        self._task = task
        self._injected = injected
        self._bytes_max = bytes_max or ARGS_BYTES_MAX
        self._positional = tuple(each.name for each in parameters if each.positional)
        self._adapter = _adapter_of(task, parameters)
        self._validator = self._adapter.validator
        # A TypedDict's own config says nothing of bytes and floats inside it; the root's does.
        self._dump = SchemaSerializer(self._adapter.core_schema, PLAIN_JSON).to_json
        self._signature = ""

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Json:
        """The call's arguments as JSON text.

        Raises:
            InvalidArguments: `fields` says which and why.
            NotEncodable: JSON cannot carry one, or not so that it comes back.
            PayloadTooLarge: over the bound.
        """
        named = self._bind(args, kwargs) if kwargs or len(args) > len(self._positional) else self._zip(args)
        try:
            values = self._validator.validate_python(named)
        except ValidationError as error:
            raise self._misfit(error) from None
        return self._checked(values)

    def encode_named(self, args: Mapping[str, object]) -> Json:
        """As `encode`, for arguments that came as JSON."""
        text = encode(args, f"the arguments of {self._task}", self._bytes_max)
        return self._checked(self.decode(text))

    def decode(self, text: Json) -> dict[str, Any]:
        """Arguments by name, validated, as the function takes them.

        Raises:
            InvalidArguments: they do not fit the function.
        """
        try:
            values: dict[str, Any] = self._validator.validate_json(text)
        except ValidationError as error:
            raise self._misfit(error) from None
        return values

    def accept(self, text: bytes) -> dict[str, Any]:
        """As `decode`, of text that came from outside.

        Raises:
            ValidationError: Pydantic's own; `fields_of` tells it.
        """
        values: dict[str, Any] = self._validator.validate_json(text)
        return values

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments; empty where an annotation has none."""
        try:
            return self._adapter.json_schema()
        except (PydanticInvalidForJsonSchema, PydanticUserError):
            return {}

    @property
    def signature(self) -> str:
        """12 hex digits that change when the parameters do."""
        if not self._signature:
            text = json.dumps(self.schema() or self._positional, sort_keys=True)
            self._signature = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self._signature

    def _zip(self, args: tuple[object, ...]) -> dict[str, object]:
        return dict(zip(self._positional, args, strict=False))

    def _bind(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        named = self._zip(args)
        wrong: list[tuple[str, str]] = []
        if len(args) > len(self._positional):
            wrong.append(("", f"takes {len(self._positional)} arguments by position, not {len(args)}"))
        for name, value in kwargs.items():
            if name in self._injected:
                wrong.append((name, "is injected where the job runs; it cannot be given"))
            elif name in named:
                wrong.append((name, "is given twice"))
            named[name] = value
        if wrong:
            raise self._invalid(wrong)
        return named

    def _checked(self, values: object) -> Json:
        what = f"the arguments of {self._task}"
        text = encode_by(self._to_json, values, what, self._bytes_max)
        try:
            self._validator.validate_json(text)
        except ValidationError as error:
            fields = "; ".join(f"{name}: {why}" for name, why in fields_of(error))
            raise NotEncodable(f"{what} would not come back from JSON ({fields})") from None
        return text

    def _to_json(self, values: object) -> bytes:
        return self._dump(values, by_alias=True, round_trip=True, warnings="error")

    def _misfit(self, error: ValidationError) -> InvalidArguments | NotEncodable:
        if any(each["type"] == "string_unicode" for each in error.errors(include_url=False, include_input=False)):
            return NotEncodable(f"the arguments of {self._task}: a text with a lone surrogate, which is not Unicode")
        return self._invalid(fields_of(error))

    def _invalid(self, fields: Sequence[tuple[str, str]]) -> InvalidArguments:
        said = "; ".join(f"{name}: {why}" if name else why for name, why in fields)
        return InvalidArguments(f"{self._task}: {said}", tuple(fields))


class Results:
    """What one task returns, as JSON text."""

    __slots__ = ("_adapter", "_bytes_max", "_dump", "_task", "_validator")

    def __init__(self, task: str, annotation: Any, bytes_max: int = 0) -> None:
        """`bytes_max` 0 is the default."""
        self._task = task
        self._bytes_max = bytes_max or RESULT_BYTES_MAX
        self._adapter = result_adapter(task, annotation)
        self._validator = self._adapter.validator
        self._dump = self._adapter.serializer.to_json

    def encode(self, value: object) -> Json:
        """The result as JSON text.

        Raises:
            NotEncodable: it is not what the task says it returns, or JSON cannot carry it.
            PayloadTooLarge: over the bound.
        """
        if value is None:
            return self._none()
        what = f"the result of {self._task}"
        try:
            value = self._validator.validate_python(value)
        except ValidationError as error:
            fields = "; ".join(f"{name}: {why}" if name else why for name, why in fields_of(error))
            raise NotEncodable(f"{what} is not what its annotation says ({fields})") from None
        return encode_by(self._to_json, value, what, self._bytes_max)

    def decode(self, text: Json) -> Any:
        """The result as the task's annotation says.

        Raises:
            NotEncodable: what was stored does not fit it (any more).
        """
        try:
            return self._validator.validate_json(text)
        except ValidationError as error:
            fields = "; ".join(f"{name}: {why}" if name else why for name, why in fields_of(error))
            raise NotEncodable(f"the stored result of {self._task} does not fit its annotation ({fields})") from None

    def _none(self) -> Json:
        try:
            self._validator.validate_python(None)
        except ValidationError:
            raise NotEncodable(f"the result of {self._task} is None, which its annotation does not allow") from None
        return "null"

    def _to_json(self, value: object) -> bytes:
        return self._dump(value, by_alias=True)


def result_adapter(task: str, annotation: Any) -> TypeAdapter[Any]:
    """How results of this annotation are read and written.

    Raises:
        InvalidConfig: one that JSON results cannot have.
    """
    try:
        try:
            return TypeAdapter(annotation, config=RESULT_CONFIG)
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            return TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise InvalidConfig(
            f"task {task}: JSON cannot carry its result {annotation!r}; {_first_line(error)}"
        ) from error


def _adapter_of(task: str, parameters: Sequence[Parameter]) -> TypeAdapter[Any]:
    fields = {each.name: each.annotation if each.required else NotRequired[each.annotation] for each in parameters}
    try:
        return TypeAdapter(_typed_dict(task, fields))
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        for each in parameters:
            try:
                TypeAdapter(_typed_dict(task, {each.name: each.annotation}))
            except (PydanticSchemaGenerationError, PydanticUserError) as cause:
                said = f"JSON cannot carry its parameter {each.name}: {each.annotation!r}; {_first_line(cause)}"
                raise InvalidConfig(f"task {task}: {said}") from cause
        raise InvalidConfig(f"task {task}: {_first_line(error)}") from error


def _typed_dict(task: str, fields: Mapping[str, Any]) -> Any:
    make: Any = vars(typing_extensions)["TypedDict"]  # checkers want its fields spelled out; these are known only now
    made = make(task, dict(fields))
    made.__pydantic_config__ = ARGUMENTS_CONFIG
    return made


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def fields_of(error: ValidationError) -> list[tuple[str, str]]:
    """Which fields do not fit, and why, as a person would say it."""
    told: list[tuple[str, str]] = []
    for each in error.errors(include_url=False, include_context=False):
        why = _MESSAGES.get(each["type"], each["msg"])
        given: object = each["input"]
        if each["type"] not in _MESSAGES and isinstance(given, str | int | float | None):
            shown = repr(given)
            why = f"{why[:1].lower()}{why[1:]}, not {shown if len(shown) <= 80 else shown[:77] + '...'}"  # noqa: PLR2004
        told.append((".".join(str(part) for part in each["loc"]), why))
    return told
