#!/bin/sh
# Makes sure there is a Chromium for the browser tests.
set -eu
[ -n "${WINDLASS_CHROMIUM:-}" ] && exit 0
for name in chromium chromium-browser google-chrome; do command -v "$name" >/dev/null 2>&1 && exit 0; done
if ! command -v apt-get >/dev/null 2>&1; then
    echo "browser tests need Chromium: install it, or name it in WINDLASS_CHROMIUM" >&2
    exit 1
fi
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing Chromium for the browser tests …"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends chromium >/dev/null
