"""Finding what APP names: `module:attribute`, a FastAPI app with Headrace installed, or a Headrace."""

import importlib
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from headrace.cli.fail import Fail
from headrace.core.errors import InvalidConfig

if TYPE_CHECKING:
    from headrace.app import Headrace

FRAMES_MAX: Final = 8
"""Of the user's own frames in a traceback; the last ones tell most."""

_OURS: Final = str(Path(__file__).resolve().parents[1])


@dataclass(frozen=True, slots=True)
class Loaded:
    """What APP turned out to be; `app` is None where it names a Headrace."""

    target: str
    hr: "Headrace"
    app: Any | None


def put_on_path(directory: str) -> None:
    """Have modules found in `directory` first, as uvicorn does with its own."""
    path = str(Path(directory).resolve())
    if path not in sys.path:
        sys.path.insert(0, path)


def load(target: str, *, whole: bool = False) -> Loaded:
    """Import the module, take the attribute, find the Headrace.

    An app with several Headraces is served `whole`; who runs jobs must name one of them.

    Raises:
        Fail: says which of the three did not work, and carries the user's own traceback where there is one.
    """
    name, _, attribute = target.partition(":")
    _check_form(target, name, attribute)
    module = _import(name)
    found = _take(module, name, attribute)
    return _judge(target, found, whole=whole)


def candidates(module: ModuleType) -> Iterator[tuple[str, str]]:
    """What in a module could have been meant: name and kind."""
    for name, value in sorted(vars(module).items()):
        kind = _kind(value)
        if kind and not name.startswith("_"):
            yield name, kind


def short_traceback(error: BaseException) -> str:
    """The user's own frames: none of importlib's, none of ours, the last few."""
    told = traceback.TracebackException.from_exception(error, compact=True)
    seen: traceback.TracebackException | None = told
    while seen is not None:
        kept = [frame for frame in seen.stack if not _is_foreign(frame.filename)]
        seen.stack = traceback.StackSummary.from_list(kept[-FRAMES_MAX:])
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "".join(told.format())


def _check_form(target: str, name: str, attribute: str) -> None:
    if name.endswith(".py") or "/" in name:
        dotted = ".".join(Path(name.removesuffix(".py")).parts).strip(".")
        raise Fail(f"{target!r} names a file", f"APP is module:attribute, as in {dotted}:{attribute or 'app'}", code=2)
    if not all(part.isidentifier() for part in name.split(".")):
        raise Fail(f"{target!r} is not module:attribute", "write it as in shop:app", code=2)
    if not attribute:
        module = _import(name)
        named = [f"{name}:{found}" for found, _ in candidates(module)]
        remedy = f"did you mean {' or '.join(named)}?" if named else "write it as in shop:app"
        raise Fail(f"{target!r} names a module but no attribute of it", remedy, code=2)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise _not_found(name, error.name) from error
        raise _broken(name, error) from error
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        remedy = "keep what runs a program under `if __name__ == '__main__':`"
        raise Fail(f"importing {name} ended the program (exit {error.code})", remedy) from error
    except BaseException as error:  # whatever a user's module raises
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> Fail:
    if isinstance(error, InvalidConfig):  # it says itself what is to be done
        return Fail(f"{_place(error) or name}: {error}")
    said = str(error).partition("\n")[0]
    what = f"importing {name} failed: {type(error).__name__}{': ' if said else ''}{said}"
    return Fail(what, "the traceback above is of your own code", detail=short_traceback(error))


def _place(error: BaseException) -> str:
    """The user's own line from which an error came: `shop.py:7`."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_foreign(frame.filename)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _not_found(name: str, missing: str) -> Fail:
    here = Path.cwd()
    what = f"there is no module {missing!r} in {here}"
    if missing != name:
        return Fail(what, f"{name} needs it", code=1)
    path = Path(*name.split("."))
    for folder in sorted(entry for entry in here.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        if (folder / path).with_suffix(".py").is_file() or (folder / path / "__init__.py").is_file():
            where = folder.name
            if (folder / "__init__.py").is_file():
                return Fail(what, f"did you mean {where}.{name}?")
            return Fail(what, f"it is in {where}: add --app-dir {where}")
    return Fail(what, "go to the directory that holds it, or name that with --app-dir")


def _take(module: ModuleType, name: str, attribute: str) -> object:
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = [f"{name}:{known} (a {kind})" for known, kind in candidates(module)]
            remedy = f"it has {', '.join(near)}" if near else "it holds no FastAPI app and no Headrace at its top level"
            raise Fail(f"the module {name} has no {attribute!r}", remedy)
        found = getattr(found, part)
    return found


def _judge(target: str, found: object, *, whole: bool) -> Loaded:
    kind = _kind(found)
    if kind == "Headrace":
        hr: Any = found
        return Loaded(target, hr, None)
    if kind == "FastAPI app":
        app: Any = found
        installed: dict[str, Any] = getattr(app.state, "headrace", {})
        if not installed:
            raise Fail(f"no Headrace was installed on {target}", "call hr.install(app) at the module's top level")
        if len(installed) > 1 and not whole:
            raise Fail(
                f"{target} has several Headraces, under {' and '.join(installed)}", "name one itself, as in shop:hr"
            )
        return Loaded(target, next(iter(installed.values())), app)
    made = type(found).__name__
    if callable(found) and not isinstance(found, type) and made == "function":
        raise Fail(f"{target} is a function", "APP is what it returns: keep that in a module attribute")
    raise Fail(f"{target} is of type {made}", "APP must be a FastAPI app or a Headrace")


def _kind(value: object) -> str:
    """What a value is to us; modules that were never imported cannot have made it."""
    for module, name, kind in (("headrace.app", "Headrace", "Headrace"), ("fastapi", "FastAPI", "FastAPI app")):
        cls = getattr(sys.modules.get(module), name, None)
        if isinstance(cls, type) and isinstance(value, cls):
            return kind
    return ""


def _is_foreign(filename: str) -> bool:
    return filename.startswith(("<frozen importlib", f"{_OURS}/")) or filename.endswith("/importlib/__init__.py")
