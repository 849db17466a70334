#!/usr/bin/env bash
# Run a command that needs the network; where it fails, run it again after 15 seconds, and once more after 45.
# What is no hiccup still fails: the status is that of the last try. Usage: scripts/again.sh COMMAND…
set -u

for seconds in 15 45; do
    "$@" && exit 0
    echo "Failed: $*. Trying again in $seconds s" >&2
    sleep "$seconds"
done
exec "$@"
