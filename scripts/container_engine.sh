#!/usr/bin/env bash
# Prints the container engine that `make images` builds with: $ENGINE, or the first of docker, podman
# and buildah that is there and answers.
set -euo pipefail
for engine in ${ENGINE:-docker podman buildah}; do
  if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then
    echo "$engine"
    exit 0
  fi
done
echo "No container engine works here (tried ${ENGINE:-docker, podman and buildah})." >&2
exit 1
