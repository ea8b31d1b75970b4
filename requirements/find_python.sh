#!/usr/bin/env bash
# Prints the Python that environments are built with: $PYTHON, or the newest on PATH that will do.
set -euo pipefail

# A name on PATH may be a shim that starts nothing, a Python without venv, or the very environment
# that is about to be replaced: each is tried, and says which interpreter it stands for.
for name in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3; do
  while read -r candidate; do
    if "$candidate" -c '
import sys, ensurepip, venv
if sys.version_info < (3, 11): sys.exit(1)
print(sys._base_executable)' 2>/dev/null; then
      exit 0
    fi
  done < <(type -aP "$name" || true)
  if [ "$name" = "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON is not a Python 3.11 or newer with venv." >&2
    exit 1
  fi
done
echo "No Python 3.11 or newer with venv was found on PATH (tried python3.13, python3.12, python3.11" >&2
echo "and python3). Install one (Debian, Ubuntu: apt install python3-venv) or say where it is:" >&2
echo "make PYTHON=/path/to/python ..." >&2
exit 1
