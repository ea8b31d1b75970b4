#!/usr/bin/env bash
# Builds a virtual environment from a lock, unless it is there already:
#   bash requirements/build_env.sh FOLDER LOCK STAMP new|add NOTE
# `new` starts from an empty folder, `add` installs into the one that is there. The stamp holds
# the locks' text and the project's place and is written last: a killed install leaves none, a
# lock whose text changes (not its date) or a moved folder makes the environment anew.
# PYTHON: which interpreter; TORCH_INDEX: where to take the build of torch from.
set -euo pipefail
folder=$1 lock=$2 stamp=$3 mode=$4 note=$5

wanted() {
  echo "built in $(pwd -P)"
  cat "requirements/$lock.lock"
  # a lock may start with "-r other.lock"
  sed -n 's/^-r //p' "requirements/$lock.lock" | while read -r other; do cat "requirements/$other"; done
}

if [ -x "$folder/bin/python" ] && wanted | cmp -s - "$stamp"; then
  exit 0
fi

if [ "$mode" = new ]; then
  python=$(bash requirements/find_python.sh)
  echo "Building $folder from requirements/$lock.lock ($note) ..."
  if [ -L "$folder" ]; then rm "$folder"; fi # never empty what is someone else's, nor touch its stamps
  rm -f "$folder"/.*stamp
  "$python" -m venv --clear "$folder"
else
  echo "Adding requirements/$lock.lock to $folder ($note) ..."
  rm -f "$stamp"
fi

log=$folder/build.log
: >"$log"

installed() { find "$folder"/lib/python*/site-packages -maxdepth 1 -name '*.dist-info' | wc -l; }

# Shows what pip does and since when: one changing line on a terminal, else a line every 10 seconds.
progress() {
  local line="" doing="" next=0 status tick=1 packages="" before=0
  # read tells a timeout from the end since bash 4; macOS has bash 3.2
  if [ "${BASH_VERSINFO[0]}" -lt 4 ]; then tick=3600; fi
  while true; do
    read -r -t "$tick" line && status=0 || status=$?
    if [ "$status" -gt 128 ]; then line=""; elif [ "$status" -ne 0 ]; then break; fi
    case $line in
      Installing\ collected*) packages=$(wc -w <<<"${line#*:}") before=$(installed) ;;
      Collecting* | Processing* | Downloading* | Building*) doing=${line%% (from*} ;;
    esac
    if [ -n "$packages" ]; then doing="Installed $(($(installed) - before)) of $((packages)) packages"; fi
    if [ -t 1 ]; then
      printf '\r\033[K%5d s  %.64s' "$SECONDS" "$doing"
    elif [ -n "$doing" ] && [ "$SECONDS" -ge "$next" ]; then
      printf '%5d s  %s\n' "$SECONDS" "$doing"
      next=$((SECONDS + 10))
    fi
  done
  if [ -t 1 ]; then printf '\r\033[K'; fi
}

install() {
  PYTHONUNBUFFERED=1 "$folder/bin/python" -m pip install --disable-pip-version-check \
    --progress-bar off "$@" 2>&1 | tee -a "$log" | progress || {
    tail -n 20 "$log" >&2
    echo "pip failed: the whole log is $log" >&2
    exit 1
  }
}
if [ -n "${TORCH_INDEX:-}" ] && torch=$(grep '^torch==' "requirements/$lock.lock"); then
  install --no-deps --index-url "$TORCH_INDEX" "$torch"
fi
install -r "requirements/$lock.lock"

wanted >"$stamp.tmp"
mv "$stamp.tmp" "$stamp"
