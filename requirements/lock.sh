#!/usr/bin/env bash
# Writes requirements/*.lock from *.in: `make lock` (only what the .in files ask for changes) or
# `make lock UPGRADE=1` (everything to the newest). Each lock is what pip installed into a fresh
# environment, without local suffixes such as +cpu, so that any build of a version satisfies it.
set -euo pipefail
python=$(bash requirements/find_python.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The packages of an environment as NAME==VERSION, names in their normal form, pip left out.
frozen() {
  "$1/bin/python" -m pip freeze --all --disable-pip-version-check |
    sed -E 's/\+[^ ;]*$//' |
    awk -F== 'NF == 2 { name = tolower($1); gsub(/[._]+/, "-", name); print name "==" $2 }' |
    { grep -vE '^(pip|wheel)==|^(nvidia|cuda)-|^triton==' || true; } | LC_ALL=C sort
}

# resolve NAME CONSTRAINTS...: installs NAME.in under the constraints, prints what is there then.
resolve() {
  local name=$1 constraints=() file
  for file in "${@:2}"; do
    if [ -s "$file" ]; then constraints+=(-c "$file"); fi
  done
  "$python" -m venv "$work/$name"
  # older Pythons put setuptools into a new environment whether anything needs it or not
  "$work/$name/bin/python" -m pip uninstall -qq --yes setuptools
  "$work/$name/bin/python" -m pip install -qq --disable-pip-version-check \
    -r "requirements/$name.in" ${constraints[@]+"${constraints[@]}"} >&2
  "$work/$name/bin/python" -m pip check --disable-pip-version-check >&2
  frozen "$work/$name"
}

# old NAME: the pins of the present lock, or nothing when everything is to be upgraded.
old() {
  if [ -z "${UPGRADE:-}" ] && [ -f "requirements/$1.lock" ]; then
    grep -E '^[a-z0-9-]+==' "requirements/$1.lock" || true
  fi
}

title() {
  echo "# Exact versions, written by \`make lock\` from $1.in: change that file, not this one."
}

for name in pipeline dev airflow; do old "$name" >"$work/$name.old"; done

echo "Resolving requirements/pipeline.in (a few minutes) ..."
resolve pipeline "$work/pipeline.old" >"$work/pipeline.pins"
echo "Resolving requirements/dev.in ..."
resolve dev "$work/pipeline.pins" "$work/dev.old" >"$work/dev.pins"
echo "Resolving requirements/airflow.in ..."
resolve airflow "$work/airflow.old" >"$work/airflow.pins"

{
  title pipeline
  echo
  echo "# The build of torch, CPU or CUDA, is chosen when the environment is built: as pip is set up,"
  echo "# or from the index that \`make run TORCH_INDEX=URL\` names (remove .venv to choose again)."
  echo "# CUDA builds bring the exact NVIDIA packages that they need themselves."
  grep '^torch==' "$work/pipeline.pins"
  echo
  grep -v '^torch==' "$work/pipeline.pins"
} >"$work/pipeline.lock"
{
  title dev
  echo
  echo "-r pipeline.lock"
  echo
  LC_ALL=C comm -13 "$work/pipeline.pins" "$work/dev.pins"
} >"$work/dev.lock"
{
  title airflow
  echo
  cat "$work/airflow.pins"
} >"$work/airflow.lock"
for name in pipeline dev airflow; do mv "$work/$name.lock" "requirements/$name.lock"; done
echo "Written: requirements/{pipeline,dev,airflow}.lock"
