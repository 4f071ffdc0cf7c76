#!/usr/bin/env bash
# Installs the real programs that tests talk to, from Debian's or Ubuntu's own packages:
#   chromium   opens the pages of the Prefect and MLflow servers and the run reports
#   swift      a real S3 server (OpenStack, with memcached); the tests start their own processes
#   postgresql the database behind shared Prefect and MLflow servers
# Run again, it installs nothing that is there. Needs root and apt-get; without them the tests that
# need these programs skip with a message (and fail under SPARRING_REQUIRE_REAL=1).
set -euo pipefail

packages=(chromium chromium-driver memcached postgresql
    swift-account swift-container swift-object swift-proxy)

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "install-test-servers: no apt-get here; install by other means: ${packages[*]}" >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    status="$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)"
    [ "$status" = installed ] || missing+=("$package")
done

if [ "${#missing[@]}" = 0 ]; then
    echo "install-test-servers: all there: ${packages[*]}"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "install-test-servers: needs root to install: ${missing[*]}" >&2
    exit 1
fi

echo "install-test-servers: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
echo "install-test-servers: done"
