"""Which code a job runs, as a short hash that goes into its spec.

Snakemake sees the command line of a job, not the modules behind it. The hash covers the modules
that a job starts from and every module of this package that these import, however far down; from a
user's own module it goes on to those beside it. Comments, docstrings and formatting do not count:
the syntax tree does, written down in a way that does not depend on Python's version, the locale or
the operating system.
"""

import ast
import hashlib
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).parent.parent


class Module(NamedTuple):
    """A file of code, and the folder from which it is imported."""

    file: Path
    root: Path

    @property
    def package(self) -> tuple[str, ...]:
        """The packages around it, for imports that are relative to it."""
        return self.file.relative_to(self.root).parent.parts


@cache
def code(*modules: str) -> str:
    """Twelve hex digits that change when the code behind these `modules` does.

    Modules are named as in an import ("sdd.stages.table"); each is read once a process.
    """
    digest = hashlib.sha256()
    for name, identity in sorted(
        (module.file.relative_to(module.root).as_posix(), _read(module.file)[0])
        for module in reached(*modules)
    ):
        digest.update(f"{name} {identity}\n".encode())
    return digest.hexdigest()[:12]


def reached(*modules: str) -> frozenset[Module]:
    """The files behind `modules`: those that they import directly or not, too."""
    found: set[Module] = set()
    ahead = {module for name in modules for module in located(name)}
    while ahead:
        found |= ahead
        ahead = {one for module in ahead for one in _imported_by(module)} - found
    return frozenset(found)


@cache
def located(name: str) -> frozenset[Module]:
    """A module's file and those of the packages around it, which are imported with it.

    None where there is no such module, or where it is no file of Python.
    """
    top, *parts = name.split(".")
    root = _root(top)
    if root is None:
        return frozenset()
    around = [root.joinpath(top, *parts[:depth], "__init__.py") for depth in range(len(parts) + 1)]
    own = root.joinpath(top, *parts).with_suffix(".py")
    return frozenset(Module(file, root) for file in (*around, own) if file.is_file())


@cache
def _root(top: str) -> Path | None:
    """The folder from which a top-level module or package is imported; nothing is run."""
    if top == PACKAGE.name:
        return PACKAGE.parent
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return Path(spec.origin).parent if spec.origin and spec.has_location else None


def _imported_by(module: Module) -> Iterator[Module]:
    ours = module.root == PACKAGE.parent and module.file.is_relative_to(PACKAGE)
    for level, name in _read(module.file)[1]:
        if level:
            package = module.package
            name = ".".join([*package[: len(package) - level + 1], *filter(None, [name])])
        top = name.partition(".")[0]
        if top == PACKAGE.name or (not ours and _belongs(top, module)):
            yield from located(name)


def _belongs(top: str, module: Module) -> bool:
    """Whether a user's `module` and the top-level one lie side by side. Of what is installed only
    the same package counts: others have versions of their own."""
    if top == module.file.relative_to(module.root).parts[0].removesuffix(".py"):
        return True
    return module.root not in _installed() and _root(top) == module.root


@cache
def _installed() -> frozenset[Path]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return frozenset(Path(sysconfig.get_path(name)) for name in names)


def bound(module: str) -> frozenset[str]:
    """The names that a module's text gives to anything; nothing is run."""
    found: set[str] = set()
    for file in (one.file for one in located(module) if _is(one, module)):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.alias):
                found.add((node.asname or node.name).partition(".")[0])
    return frozenset(found)


def _is(module: Module, name: str) -> bool:
    path = module.file.relative_to(module.root).with_suffix("")
    parts = path.parts[:-1] if path.name == "__init__" else path.parts
    return ".".join(parts) == name


def identity(source: str) -> str:
    """The sha256 of what a module's text means, the same on every version of Python."""
    return _Writing.of(source).digest()


@cache
def _read(file: Path) -> tuple[str, tuple[tuple[int, str], ...]]:
    """The identity of a file, and what it imports: each name, and how many packages up."""
    written = _Writing.of(file.read_text("utf-8"))
    return written.digest(), tuple(written.imports)


class _Writing:
    """A syntax tree written down: the kinds of its nodes and their fields in alphabetical order.

    Without positions, docstrings and what is empty, since later versions of Python add fields for
    syntax that a text does not use. One walk, for it is done at every start of Snakemake.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self.imports: list[tuple[int, str]] = []

    @classmethod
    def of(cls, source: str) -> "_Writing":
        writing = cls()
        writing.node(ast.parse(source))
        return writing

    def digest(self) -> str:
        return hashlib.sha256("".join(self.words).encode()).hexdigest()

    def node(self, node: ast.AST) -> None:
        kind: Any = type(node)
        write = self.words.append
        if kind is ast.Import or kind is ast.ImportFrom:
            self.imports += _imported(node)
        write(f"({kind.__name__}")
        for name in _field_names(kind):
            value: Any = getattr(node, name, None)
            if name == "body" and kind in _DOCUMENTED:
                value = _undocumented(value)
            elif kind is ast.JoinedStr:  # Python 3.12.1 has empty texts between its parts
                value = [part for part in value if getattr(part, "value", None) != ""]
            if isinstance(value, ast.AST):
                write(f" {name}=")
                self.node(value)
            elif isinstance(value, list):
                if value:
                    write(f" {name}=")
                    self.items(value)
            elif value is not None or kind is ast.Constant:
                write(f" {name}={type(value).__name__}:{value!a};")
        write(")")

    def items(self, values: list[Any]) -> None:
        write = self.words.append
        write("[")
        for value in values:
            if isinstance(value, ast.AST):
                self.node(value)
            else:
                write(f"{type(value).__name__}:{value!a};")
        write("]")


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def _field_names(kind: Any) -> list[str]:
    # How a name is used (ctx) follows from where it stands.
    return sorted(set(kind._fields) - {"ctx", "kind", "type_comment", "type_ignores"})


def _undocumented(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest or [ast.Pass()]
    return body


def _imported(node: Any) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.ImportFrom):
        yield node.level, node.module or ""
        prefix = f"{node.module}." if node.module else ""
        yield from ((node.level, f"{prefix}{alias.name}") for alias in node.names)
    else:
        yield from ((0, alias.name) for alias in node.names)
