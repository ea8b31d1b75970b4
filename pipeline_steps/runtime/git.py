"""The commit of the code, and the files that differ from it."""

import subprocess
from pathlib import Path

NOT_CODE = frozenset({"params.yaml", "dvc.lock"})
"""Tracked files that every run stores itself."""


def changed_code(root: Path) -> list[str]:
    """Tracked files of code that differ from the commit.

    Raises:
        OSError, subprocess.CalledProcessError: this is no git repository, or git is not there.
    """
    # relative to the project's folder, which may be inside the repository's
    names = _git(root, "diff", "--name-only", "--relative", "HEAD").splitlines()
    return [name for name in names if name not in NOT_CODE]


def head(root: Path) -> str:
    """The commit that is checked out.

    Raises:
        OSError, subprocess.CalledProcessError: this is no git repository, or git is not there.
    """
    return _git(root, "rev-parse", "HEAD").strip()


def describe(root: Path) -> str:
    """The commit of the code, with `-dirty` if code differs from it; `unknown` outside git."""
    try:
        return head(root) + ("-dirty" if changed_code(root) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout
