#!/bin/sh
# Makes sure there is a PostgreSQL server, 14 or newer, for the tests of pins and of the store. They start a cluster of their own from its binaries.
set -eu
for postgres in "$(command -v postgres || true)" /usr/lib/postgresql/*/bin/postgres; do
    [ -x "$postgres" ] || continue
    major=$("$postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
    [ "$major" -ge 14 ] && exit 0
done
if ! command -v apt-get >/dev/null 2>&1; then
    echo "tests of pins and of the store need PostgreSQL 14 or newer: install it, or put its binaries on PATH" >&2
    exit 1
fi
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing PostgreSQL for tests …"
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
