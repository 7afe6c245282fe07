"""Code of the user's own, by what is written on a command line or in a settings file.

Rewards, tasks, generators, discriminators, learning rules, phases and observers are all written
the same way: a short name, `package.module:attribute` or `./file.py:attribute`, with arguments in
parentheses after it. Nothing registers itself: a short name is looked up in the mapping that the
caller hands in, and its module is imported then.
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import logging
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from seqgan.system.errors import ConfigurationError, SeqganError, described
from seqgan.system.reading import clipped

logger = logging.getLogger(__name__)

NUM_NAMES = 8  # of a file that an error lists
GRAMMAR = "NAME, module:attribute or file.py:attribute, and (literal, key=literal, ...) after it"

ALIKE = 0.7  # likeness of two names of which one may be meant for the other

# The module of a user's file; cannot be the name of an installed one.
FILE_PREFIX = "user_file:"


@dataclass(frozen=True)
class Spec:
    """A specification as it was written.

    Args:
        text: all of it, as errors quote it.
        place: a module's dotted name or a file's path; empty for a short name.
        attribute: the short name, or what to take from the place.
        arguments: by name; None where no parentheses were written.
        what: the noun for it in errors, say "reward".
        in_order: arguments without a name.
    """

    text: str
    place: str
    attribute: str
    arguments: dict[str, Any] | None
    what: str = "plug-in"
    in_order: tuple[Any, ...] = ()


def make(text: str, what: str, shipped: Mapping[str, str]) -> Any:
    """The object that a specification names, called where it is something to be called.

    A class is called with the arguments in parentheses, or with none. Anything else is called
    where parentheses are written, and given as it is otherwise.

    Args:
        what: the noun for it in errors, say "phase".
        shipped: short names, each with its `module:attribute`.

    Raises:
        ConfigurationError: in one line, the error in the specification or in the user's code.
    """
    spec = parse_spec(text, what)
    found = load(spec, shipped)
    if spec.arguments is None and not isinstance(found, type):
        return found
    return call(found, spec.arguments or {}, spec)


def load(
    spec: Spec, shipped: Mapping[str, str], group: str = "", others: Iterable[str] = ()
) -> Any:
    """The attribute that a specification names, as it stands in its module.

    The working directory and a file's folder are importable, after all that is installed. A file
    is run once, for all that is taken from it.

    Args:
        shipped: short names, each with its `module:attribute`.
        group: entry points in which installed packages declare short names; empty for none.
        others: further short names, which the caller knows about and `load` only lists in errors.

    Raises:
        ConfigurationError: in one line, the error in the specification or in the user's code.
    """
    if spec.place:
        return _attribute(spec, spec.place, spec.attribute)
    known = shipped.get(spec.attribute.replace("-", "_"), shipped.get(spec.attribute))
    if known is not None:
        tell_shadowed(spec.attribute, spec.what, group)
        place, _, attribute = known.partition(":")
        if place.startswith("seqgan."):  # a bug of the package keeps its traceback
            return getattr(importlib.import_module(place), attribute)
        return _attribute(spec, place, attribute)
    declared = list(entry_points(group=group)) if group else []
    mine = _called(spec.attribute, declared)
    if len(mine) > 1:
        packages = " and ".join(sorted(map(_distribution, mine)))
        raise wrong(spec, f"more than one package has this name: {packages}")
    if not mine:
        raise _unknown(spec, {*others, *shipped, *(entry.name for entry in declared)})
    with _running(spec, f"the package {_distribution(mine[0])!r} fails to load it: "):
        return mine[0].load()


def call(function: Any, arguments: Mapping[str, Any], spec: Spec) -> Any:
    """Calls what a specification names; an error of the user's code becomes one line.

    Args:
        arguments: by name; those without a name are the specification's.

    Raises:
        ConfigurationError: it takes no arguments, or others, or it raises.
    """
    check_arguments(function, arguments, spec)
    with _running(spec, ""):
        try:
            return function(*spec.in_order, **arguments)
        except ValueError as error:  # says what is wrong with the arguments
            raise wrong(spec, str(error)) from error


def built(thing: Any, given: Sequence[Any], what: str, text: str) -> Any:
    """The part of a run that settings of the user's own build; any other error is a bug of theirs.

    Args:
        thing: has a method `build`, or is a function that does the same.
        given: what it is built from.
        what: the noun for it in errors, say "phase".
        text: the specification, as errors quote it.

    Raises:
        ConfigurationError: it refused, with a ValueError.
    """
    try:
        return getattr(thing, "build", thing)(*given)
    except SeqganError:
        raise
    except ValueError as error:
        raise ConfigurationError(" ".join(f"{what} {text!r}: {told(error)}".split())) from error


def check_arguments(
    function: Any, arguments: Mapping[str, Any], spec: Spec, partial: bool = False
) -> None:
    """Checks that a function can be called with these arguments.

    Args:
        partial: others may follow.

    Raises:
        ConfigurationError: it takes others, or cannot be called at all.
    """
    if not callable(function):
        raise wrong(spec, f"{function!r} cannot be called, so it takes no arguments")
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return  # a built-in one without a signature says so itself
    try:
        bind = signature.bind_partial if partial else signature.bind
        bind(*spec.in_order, **arguments)
    except TypeError as error:
        raise wrong(spec, f"{error}; its arguments are {signature}") from error


def check_takes(function: Any, names: Iterable[str], spec: Spec) -> None:
    """Checks that the user's function can be called with so many arguments, by their order.

    Args:
        names: of the arguments, for errors; the function's own may differ.

    Raises:
        ConfigurationError: it takes more or fewer, or cannot be called at all.
    """
    names = tuple(names)
    if not callable(function):
        raise wrong(spec, f"{function!r} cannot be called with ({', '.join(names)})")
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return  # a built-in one without a signature says so itself
    try:
        signature.bind(*names)
    except TypeError as error:
        name = getattr(function, "__name__", "it")
        given = ", ".join(names)
        raise wrong(spec, f"{name}{signature} cannot be called with ({given})") from error


def spec_of(thing: type) -> str:
    """The specification of a class: the absolute path of a user's file, a module's dotted name."""
    place = thing.__module__
    if place.startswith(FILE_PREFIX):
        place = place.removeprefix(FILE_PREFIX)
    elif place == "__main__":  # the script that runs; a notebook has no file
        place = str(Path(getattr(sys.modules[place], "__file__", None) or place).resolve())
        place = place if place.endswith(".py") else "__main__"
    return f"{place}:{thing.__qualname__}"


def parse_spec(text: str, what: str) -> Spec:
    """Splits a specification into place, attribute and arguments.

    Args:
        what: the noun for it in errors, say "reward".

    Raises:
        ConfigurationError: it does not follow the grammar.
    """
    whole = text.strip()
    target, arguments, in_order = whole, None, ()
    if whole.endswith(")"):
        target, written = split_call(whole, what)
        arguments = {str(each.arg): _literal(each, whole, what) for each in written.keywords}
        in_order = tuple(_literal(each, whole, what) for each in written.args)
    place, colon, attribute = target.rpartition(":")
    names = attribute.split(".") if colon else [attribute.replace("-", "_")]
    if not all(name.isidentifier() for name in names) or (colon and not place):
        raise _no_spec(text, what)
    return Spec(whole, place, attribute, arguments, what, in_order)


def split_call(text: str, what: str) -> tuple[str, ast.Call]:
    """The text before the arguments, and the arguments as a call of something.

    Raises:
        ConfigurationError: no arguments in parentheses end the text.
    """
    for start in (place for place, character in enumerate(text) if character == "("):
        try:
            written = ast.parse("f" + text[start:], mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # or one nested too deeply
            continue  # a parenthesis in a file's name
        if isinstance(written, ast.Call) and isinstance(written.func, ast.Name):
            return text[:start], written
    raise _no_spec(text, what)


def _literal(written: ast.keyword | ast.expr, text: str, what: str) -> Any:
    value = written.value if isinstance(written, ast.keyword) else written
    if isinstance(written, ast.keyword) and written.arg is None:
        raise _no_literal(text, what, ast.unparse(written))
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise _no_literal(text, what, ast.unparse(written)) from error


def tell_shadowed(name: str, what: str, group: str) -> None:
    """Warns of entry points that have a name of seqgan's own, which is the one that counts.

    Args:
        group: of entry points; empty for none.
    """
    for entry in _called(name, entry_points(group=group) if group else ()):
        logger.warning(
            "%s %s is seqgan's own; that of the package %s is %s",
            *(what, name, _distribution(entry), entry.value),
        )


def _called(name: str, entries: Iterable[EntryPoint]) -> list[EntryPoint]:
    """The entry points of a name, in which `-` and `_` are alike."""
    plain = name.replace("-", "_")
    return [entry for entry in entries if entry.name.replace("-", "_") == plain]


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def is_file(place: str) -> bool:
    """Tells a file's path from a module's dotted name."""
    return place.endswith(".py") or "/" in place or "\\" in place


def _attribute(spec: Spec, place: str, attribute: str) -> Any:
    found: Any = _module_of_file(spec, place) if is_file(place) else _module(spec, place)
    for name in attribute.split("."):
        if not hasattr(found, name):
            public = [each for each in vars(found) if not each.startswith("_")]
            raise wrong(spec, f"there is no {name!r} in {place}{nearest(name, public)}")
        found = getattr(found, name)
    return found


def _module(spec: Spec, place: str) -> ModuleType:
    if not place.startswith("seqgan."):  # else a package that it lacks might be found there
        _importable(Path.cwd())
    with _running(spec, f"{place} fails to import: "):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                raise
            problem = f"there is no module {error.name!r}, here or installed"
            raise wrong(spec, problem) from error


def _module_of_file(spec: Spec, place: str) -> ModuleType:
    """The module of a file: one for everything that is taken from it."""
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise wrong(spec, f"there is no file {place}")
    name = f"{FILE_PREFIX}{path}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise wrong(spec, f"{place} is not named *.py, as a file of Python must be")
    _importable(path.parent)
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # before it runs: its dataclasses look themselves up
    with _running(spec, f"{place} fails to run: "):
        try:
            found.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return module


@contextmanager
def _running(spec: Spec, problem: str) -> Iterator[None]:
    """Runs the user's code that a specification names. What it raises becomes one line.

    What it changes for the whole process is put back, and said.

    Args:
        problem: the words before the exception.

    Raises:
        ConfigurationError: whatever the code raises.
    """
    from seqgan.system.surroundings import is_failure, kept_surroundings  # they import PyTorch

    try:
        with kept_surroundings(f"{spec.what} {spec.text!r}", draws="untold"):
            yield
    except SeqganError:
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        raise wrong(spec, problem + told(error)) from error


def _importable(folder: Path) -> None:
    """Lets modules of the folder be imported, after all installed ones."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, to stand in an error; empty where none is."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=ALIKE)
    return f"; did you mean {near[0]}?" if near else ""


def wrong(spec: Spec, problem: str) -> ConfigurationError:
    """The one-line error about a specification."""
    return ConfigurationError(" ".join(f"{spec.what} {clipped(spec.text)!r}: {problem}".split()))


def told(error: BaseException) -> str:
    """An exception of the user's code, with its place there."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename != __file__
    ]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return described(error) + place


def _unknown(spec: Spec, known: Iterable[str]) -> ConfigurationError:
    names = sorted(known)
    if not names:
        return wrong(spec, "unknown; it must be module:attribute or ./file.py:attribute")
    return ConfigurationError(
        f"unknown {spec.what} {clipped(spec.text)!r}{nearest(spec.attribute, names)} (short names:"
        f" {', '.join(names)}; one of your own: module:attribute or ./file.py:attribute)"
    )


def _no_spec(text: str, what: str) -> ConfigurationError:
    if text.endswith(".py"):
        return ConfigurationError(f"{what} {clipped(text)!r} {_without_name(text)}")
    return ConfigurationError(f"{what} {clipped(text)!r} cannot be read; it must be {GRAMMAR}")


def _without_name(text: str) -> str:
    """The fault of a file without a name after it, and what names it has. None of it runs."""
    path = Path(text).expanduser()
    if not path.is_file():
        return f"cannot be read: no such file; it must be {clipped(text)}:NAME"
    try:
        parts = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        parts = []
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = [part.name for part in parts if isinstance(part, kinds) and part.name[0] != "_"]
    if not names:
        return f"names nothing in that file; it must be {clipped(text)}:NAME"
    listed = ", ".join(names[:NUM_NAMES])
    return f"names nothing in that file, which has {listed}; write {clipped(text)}:{names[0]}"


def _no_literal(text: str, what: str, got: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what} {clipped(text)!r}: the argument {clipped(got)!r} is no literal of Python, such as"
        " 3, 'text' or [1, 2]"
    )
