"""The code that a fit depends on: a change of it, and of no other, makes a result stale."""

import ast
import inspect
from functools import cache
from pathlib import Path

import diffrec_core
from benchmarks import ml1m
from diffrec_core.common.artifacts import sha256_json
from diffrec_core.models import kinds

_SHARED = ("common", "data", "diffusion", "evaluation", "nn", "training", "models")
"""Of the library: what models share. Of `models` the files alone, each folder being a family."""


@cache
def code_hash(*families: str) -> str:
    """Hash the families of these kinds and what all models share, docstrings aside."""
    library = Path(diffrec_core.__file__).parent
    files = {file for name in _SHARED for file in (library / name).glob("*.py")}
    files.remove(Path(kinds.__file__))  # or every new model would make all results stale
    files |= {Path(ml1m.__file__), Path(__file__).with_name("fitting.py")}
    for kind in families:
        file = Path(inspect.getfile(kinds.implementation(kind)))
        files |= {file} if file in files else set(file.parent.glob("*.py"))
    return sha256_json([code(file.read_text(encoding="utf-8")) for file in sorted(files)])


def code(text: str) -> str:
    """Source text as a syntax tree, without comments and docstrings."""
    return ast.dump(_WithoutDocstrings().visit(ast.parse(text)))


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node
