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
# Another apt at work is waited for, and each file is asked for again where the network falters.
apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5)
run=("${apt[@]}")
[[ $(id -u) -eq 0 ]] || run=(sudo "${apt[@]}")
if [[ ${#missing[@]} -eq 0 ]]; then
    # Draws the same pixels as Chromium in less time. Wanted, not needed: Debian has it, Ubuntu does not.
    if ! command -v chromium-headless-shell >/dev/null && apt-cache show chromium-headless-shell >/dev/null 2>&1; then
        [[ $(id -u) -eq 0 ]] || run=(sudo -n "${apt[@]}")
        "${run[@]}" install -y -qq --no-install-recommends --no-remove chromium-headless-shell \
            || echo "Going on without chromium-headless-shell"
    fi
    exit 0
fi

echo "Installing ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    echo "apt-get is not here; install by hand: ${missing[*]}" >&2
    exit 1
fi
again="$(dirname "$0")/again.sh"
"$again" "${run[@]}" update -qq || echo "Going on with the lists of packages that are here" >&2
if [[ " ${missing[*]} " == *" chromium "* ]] && apt-cache show chromium-headless-shell >/dev/null 2>&1; then
    missing+=(chromium-headless-shell)
fi
"$again" "${run[@]}" install -y -qq --no-install-recommends "${missing[@]}"
