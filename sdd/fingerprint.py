"""Which code a stage runs, as a short hash that goes into its spec.

Snakemake sees the command line of a job, not the modules behind it. The hash covers the stage's
function in `sdd/__main__.py` and every module of this package that it imports, however far down.
Comments, docstrings and formatting do not count: the syntax tree does.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


@cache
def fingerprint(stage: str) -> str:
    """Twelve hex digits that change when the code behind `stage` does."""
    return _digest(_stage_function(stage), modules(stage))


def modules(stage: str) -> frozenset[Path]:
    """The files of this package that `stage` imports, directly or not."""
    found: set[Path] = set()
    open_files = _imports(_stage_function(stage))
    while open_files:
        found |= open_files
        open_files = {i for file in open_files for i in _imports(_tree(file))} - found
    return frozenset(found)


def _stage_function(stage: str) -> ast.AST:
    functions = (n for n in _tree(PACKAGE / "__main__.py").body if isinstance(n, ast.FunctionDef))
    return next(f for f in functions if f.name == stage)


@cache
def _tree(file: Path) -> ast.Module:
    tree = ast.parse(file.read_text(), filename=str(file))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _imports(tree: ast.AST) -> set[Path]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    found = set()
    for name in names:
        if name == PACKAGE.name or name.startswith(f"{PACKAGE.name}."):
            path = PACKAGE.joinpath(*name.split(".")[1:])
            candidates = path / "__init__.py", path.with_suffix(".py")
            found |= {file for file in candidates if file.is_file()}
    return found


def _digest(function: ast.AST, files: frozenset[Path]) -> str:
    digest = hashlib.sha256(ast.unparse(function).encode())
    for file in sorted(files):
        digest.update(f"\n{file.relative_to(PACKAGE)}\n{ast.unparse(_tree(file))}".encode())
    return digest.hexdigest()[:12]
