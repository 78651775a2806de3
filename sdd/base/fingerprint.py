"""Which code a job runs, as a short hash that goes into its spec.

Snakemake sees the command line of a job, not the modules behind it. The hash covers the modules
that a job starts from and every module of this package that these import, however far down.
Comments, docstrings and formatting do not count: the syntax tree does, written down in a way that
does not depend on Python's version, the locale or the operating system.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent


@cache
def code(*modules: str) -> str:
    """Twelve hex digits that change when the code behind these `modules` does.

    Modules are named as in an import ("sdd.stages.table"); each is read once a process.
    """
    digest = hashlib.sha256()
    for file in sorted(files(*modules)):
        digest.update(f"{file.relative_to(PACKAGE).as_posix()} {_read(file)[0]}\n".encode())
    return digest.hexdigest()[:12]


def files(*modules: str) -> frozenset[Path]:
    """The files of this package behind `modules`, which they import directly or not."""
    found: set[Path] = set()
    ahead = {file for module in modules for file in _files_of(module)}
    while ahead:
        found |= ahead
        ahead = {imported for file in ahead for imported in _read(file)[1]} - found
    return frozenset(found)


def identity(source: str) -> str:
    """The sha256 of what a module's text means, the same on every version of Python."""
    return _Writing.of(source).digest()


@cache
def _read(file: Path) -> tuple[str, frozenset[Path]]:
    """The identity of a file, and what it imports of this package."""
    written = _Writing.of(file.read_text("utf-8"))
    return written.digest(), frozenset(f for name in written.imports for f in _files_of(name))


class _Writing:
    """A syntax tree written down: the kinds of its nodes and their fields in alphabetical order.

    Without positions, docstrings and what is empty, since later versions of Python add fields for
    syntax that a text does not use. One walk, for it is done at every start of Snakemake.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self.imports: list[str] = []

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


def _imported(node: Any) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        if node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    else:
        yield from (alias.name for alias in node.names)


@cache
def _files_of(module: str) -> frozenset[Path]:
    """The module's file and those of the packages around it, which are imported with it; none
    where it is not of this package."""
    package, *parts = module.split(".")
    if package != PACKAGE.name:
        return frozenset()
    around = [PACKAGE.joinpath(*parts[:depth], "__init__.py") for depth in range(len(parts) + 1)]
    own = PACKAGE.joinpath(*parts).with_suffix(".py")
    return frozenset(file for file in (*around, own) if file.is_file())
