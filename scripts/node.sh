#!/bin/sh
# Makes sure there are node and npm for the OpenID provider of the tests.
set -eu
command -v npm >/dev/null 2>&1 && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "tests of logging in by OpenID need node and npm: install them" >&2
    exit 1
fi
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing node for the tests of logging in by OpenID …"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null
