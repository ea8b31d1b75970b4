#!/usr/bin/env bash
# run_check.sh NAME COMMAND ...: run a check under a heading and add its result to $CHECK_RESULTS.
name=$1
shift
printf '\n=== %s\n' "$name"
result=ok
"$@" || result=FAILED
printf '  %-15s %-7s %4d s\n' "$name" "$result" "$SECONDS" >>"${CHECK_RESULTS:-/dev/null}"
[ "$result" = ok ]
