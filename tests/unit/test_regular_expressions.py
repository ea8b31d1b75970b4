"""No regular expression that Python 3.11.0 to 3.11.4 match wrongly (3.11.2 is Debian 12's)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

NEW_IN_3_11 = re.compile(r"(?<!\\)(?:[*+?]|\{\d*,?\d*\})\+|\(\?>")
"""A possessive quantifier or an atomic group; bracketed sets are taken out before."""
BRACKETED = re.compile(r"(?<!\\)\[\^?\]?(?:\\.|[^\]\\])*\]")


def is_unsafe(pattern: str) -> bool:
    return NEW_IN_3_11.search(BRACKETED.sub("s", pattern)) is not None


def patterns(path: Path) -> Iterator[str]:
    """The texts of a module that uses `re`, other than docstrings."""
    tree = ast.parse(path.read_text())
    modules = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    if "re" not in modules:
        return
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


@pytest.mark.parametrize("pattern", ["a*+", "a++", "a?+", "a{2}+", "a{1,}+", "(?>a)", "[+]*+"])
def test_the_check_sees(pattern: str) -> None:
    assert is_unsafe(pattern)


@pytest.mark.parametrize("pattern", ["a+", r"\++", "[*+]+", r"[\]*+]", "(?:a)+", "a{2}", "[^]*+]"])
def test_the_check_passes(pattern: str) -> None:
    re.compile(pattern)
    assert not is_unsafe(pattern)


def test_no_module_holds_one(project_root: Path) -> None:
    folders = ("diffrec_core", "pipeline_steps", "dags", "scripts", "benchmarks", "docs", "tests")
    files = [path for folder in folders for path in (project_root / folder).rglob("*.py")]
    unsafe = {
        f"{path.relative_to(project_root)}: {pattern!r}"
        for path in files
        if path != Path(__file__)
        for pattern in patterns(path)
        if is_unsafe(pattern)
    }
    assert len(files) > 100
    assert not unsafe
