#!/bin/sh
# Makes sure there are node and npm: the tests' OpenID provider runs in node, and so do tracing libraries for JavaScript.
set -eu
command -v npm >/dev/null 2>&1 && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "tests of logging in by OpenID and of tracing from JavaScript need node and npm: install them" >&2
    exit 1
fi
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing node for the tests of logging in by OpenID and of tracing from JavaScript …"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null
