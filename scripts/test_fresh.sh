#!/usr/bin/env bash
# The README's two commands on fresh machines, and both images: `make test-fresh`, as root, on Debian
# or a relative of it, with debootstrap. A fresh machine is a Debian root with git, make and Python,
# where a user of its own, who is not root, clones this repository's HEAD into a folder with a blank
# in its name. docs/how-to/test-on-fresh-machines.md lists the variables.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${ROOTS=bookworm trixie}" "${COMMANDS=run test}" "${IMAGES=yes}" "${KEEP=}"
: "${ROOTS_DIR:=/var/tmp/fresh-roots}" "${MIRROR:=}" "${SHARE:=}" "${PASS_ENV:=}"
home=/home/tester clone="a clone"
results=() failed=0

make_root() {
  [ -e "$1/made" ] && return
  echo "Making $1 (2 to 10 minutes) ..."
  rm -rf "$1"
  debootstrap --variant=minbase --include=ca-certificates,git,make,python3,python3-venv \
    "$(basename "$1")" "$1" ${MIRROR:+"$MIRROR"} >"$1.log" || { tail "$1.log" >&2; exit 1; }
  chroot "$1" useradd --create-home --shell /bin/bash tester
  printf '127.0.0.1 localhost\n127.0.1.1 fresh-%s\n' "$(basename "$1")" >"$1/etc/hosts"
  touch "$1/made"
}

clone_into() {
  if [ -z "$KEEP" ] || ! [ -d "$1$home/$clone" ]; then
    rm -rf "${1:?}$home"
    mkdir "$1$home"
    git clone --quiet --no-local . "$1$home/$clone"
  else
    git --git-dir="$1$home/$clone/.git" fetch --quiet "$PWD" HEAD
    git -C "$1$home/$clone" -c safe.directory='*' checkout --quiet --detach FETCH_HEAD
  fi
  chroot "$1" chown -R tester:tester "$home"
}

# in_root ROOT COMMAND ...: run it as the root's user, with the machine's SHARE and PASS_ENV, under
# another host name. All that it mounts and starts ends with it.
in_root() {
  local root=$1 path name environment=()
  for name in $PASS_ENV; do
    [ -n "${!name+set}" ] && environment+=("$name=${!name}")
  done
  cp --remove-destination --dereference /etc/resolv.conf "$root/etc/resolv.conf"
  hostname "fresh-$(basename "$root")"
  for path in $SHARE; do
    mkdir -p "$(dirname "$root$path")"
    if [ -d "$path" ]; then mkdir -p "$root$path"; else touch -a "$root$path"; fi
    mount --bind "$path" "$root$path"
    mount -o remount,bind,ro "$root$path"
  done
  mount -t proc proc "$root/proc"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mount -t devpts devpts "$root/dev/pts"
  # not by exec: with this shell, the namespace's first process, all that was started ends
  chroot --userspec=tester:tester "$root" env -i HOME="$home" USER=tester \
    PATH=/usr/local/bin:/usr/bin:/bin ${environment[@]+"${environment[@]}"} \
    bash -c 'cd "$1" && shift && exec "$@"' bash "$home/$clone" "${@:2}" </dev/null
}
export -f in_root
export home clone SHARE PASS_ENV

# timed WHERE PYTHON LABEL COMMAND ...: run it, with its output in a log, and keep its exit code
# (`code` is the last one's).
timed() {
  local log start=$SECONDS
  code=0
  log=$ROOTS_DIR/$1-$(tr ' /' '--' <<<"$3").log
  echo "$1: $3 (log: $log) ..."
  "${@:4}" >"$log" 2>&1 || code=$?
  if [ "$code" != 0 ]; then tail -n 20 "$log"; failed=1; fi
  results+=("$(printf '%-10s %-8s %-22s %4d %8d' "$1" "$2" "$3" "$code" $(((SECONDS - start + 59) / 60)))")
}

# base_image ROOT: the root as the image that the Dockerfile starts from, so that no registry is needed.
base_image() {
  local context=$ROOTS_DIR/base
  mkdir -p "$context"
  printf 'FROM scratch\nADD root.tar /\n' >"$context/Dockerfile"
  tar -C "$1" --exclude=".$home" --exclude='./proc/*' --exclude='./tmp/*' --exclude='./var/tmp/*' \
    -cf "$context/root.tar" . &&
    "$(bash scripts/container_engine.sh)" build --tag diffrec-base "$context"
}

build_images() {
  make_root "$ROOTS_DIR/bookworm" && base_image "$ROOTS_DIR/bookworm" &&
    BASE=diffrec-base IMAGE_OPTIONS="--pull=false ${IMAGE_OPTIONS:-}" bash scripts/build_images.sh
}

# One function, so that bash has read all of this file before it starts: a change of it while it runs
# for an hour would otherwise change what runs.
main() {
  mkdir -p "$ROOTS_DIR"
  for root in $ROOTS; do
    folder=$ROOTS_DIR/$root
    make_root "$folder"
    clone_into "$folder"
    python=$(chroot "$folder" python3 -c 'import platform; print(platform.python_version())')
    for command in $COMMANDS; do
      timed "$root" "$python" "make $command" unshare --mount --uts --pid --fork --kill-child \
        bash -euo pipefail -c 'in_root "$@"' bash "$folder" make "$command"
    done
  done

  if [ -n "$IMAGES" ]; then
    timed images 3.11 "make images" build_images
    if [ "$code" = 0 ]; then
      timed images 3.11 "pipeline" bash scripts/test_images.sh pipeline
      timed images 3.11 "airflow" bash scripts/test_images.sh airflow
    fi
  fi

  printf '\n%-10s %-8s %-22s %4s %8s\n' root Python command exit minutes
  printf '%s\n' ${results[@]+"${results[@]}"}
  exit "$failed"
}

main
