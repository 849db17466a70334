#!/usr/bin/env bash
# Install the Debian or Ubuntu packages that are missing: Chromium, Redis and the fonts the atlas is built from.
# Needs root or sudo only when something is missing. Usage: scripts/system_packages.sh [--test]
set -euo pipefail

missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
    || missing+=(chromium)
if [[ "${1:-}" == "--test" ]]; then
    command -v redis-server >/dev/null || missing+=(redis-server)
    [[ -e /usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf ]] || missing+=(fonts-dejavu-core)
    [[ -e /usr/share/unifont/unifont.hex ]] || missing+=(unifont)
    [[ -d /usr/share/fonts/X11/misc ]] || missing+=(xfonts-base)
fi
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
[[ ${#missing[@]} -eq 0 ]] && exit 0

echo "Installing ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    echo "apt-get is not here; install by hand: ${missing[*]}" >&2
    exit 1
fi
run=()
[[ $(id -u) -eq 0 ]] || run=(sudo)
"${run[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
