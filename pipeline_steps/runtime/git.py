"""What git says of the code: its commit, and whether what is here is what was committed."""

import subprocess
from pathlib import Path

NOT_CODE = frozenset({"params.yaml", "dvc.lock"})
"""Tracked files that are kept with each run anyway."""


def changed_code(root: Path) -> list[str]:
    """Tracked files of code that differ from the commit.

    Raises:
        OSError, subprocess.CalledProcessError: this is no git repository, or git is not there.
    """
    # relative to the project's folder, which may lie inside the repository's
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
