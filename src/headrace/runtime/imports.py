"""Finding in a child process what the parent imported: modules by name, and the script that was run."""

import importlib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

MAIN_ALIAS: Final = "__headrace_main__"  # the script's name in a child, so that its main guard holds


def describe_main() -> dict[str, str] | None:
    """How a child can import this process's `__main__`; None where there is nothing to import."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return {"module": spec.name}
    path = getattr(main, "__file__", None)
    return None if path is None else {"path": str(Path(path).absolute())}


def import_all(path: Sequence[str], main: dict[str, str] | None, modules: Sequence[str]) -> None:
    """Import `modules` with the parent's `sys.path`; `__main__` among them stands for its script."""
    sys.path[:] = path
    for module in modules:
        if module != "__main__":
            importlib.import_module(module)
        elif main is not None:
            _run_main(main)


def find(module: str, qualname: str) -> Any:
    """The object that a module calls so.

    Raises:
        LookupError: the module has no such name, for instance because it stands inside a function.
    """
    found: Any = sys.modules.get(module) if module == "__main__" else importlib.import_module(module)
    for name in qualname.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise LookupError(f"{module} has no {qualname}: a cpu task must stand at the top of its module") from None
    return found


def _run_main(main: dict[str, str]) -> None:
    if "module" in main:
        names = runpy.run_module(main["module"], run_name=MAIN_ALIAS, alter_sys=True)
    else:
        names = runpy.run_path(main["path"], run_name=MAIN_ALIAS)
    module = ModuleType(MAIN_ALIAS)
    module.__dict__.update(names)
    sys.modules["__main__"] = sys.modules[MAIN_ALIAS] = module
