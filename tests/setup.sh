#!/usr/bin/env bash
# Installs the programs for the tests that pip cannot: Debian's Chromium, Firefox, nginx, HAProxy, Caddy and Varnish, curl, promtool,
# openssl, strace, valgrind, a C compiler, mkfs.ext4, faketime, libfiu, PostgreSQL and PgBouncer, PHP, Node's packages and FerretDB.
# If this user may not install one, the script says which tests will be skipped; in CI that is a failure.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
for pair in chromium:chromium firefox-esr:firefox-esr nginx:nginx-light haproxy:haproxy caddy:caddy varnishd:varnish \
            curl:curl promtool:prometheus npm:npm openssl:openssl valgrind:valgrind gcc:gcc mkfs.ext4:e2fsprogs \
            faketime:faketime fiu-run:fiu-utils strace:strace pgbouncer:pgbouncer php:php-cli; do
  PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[[ -f /usr/include/stdio.h ]] || missing+=(libc6-dev)
# Debian puts PostgreSQL's programs on no path. Its package would also create and start a cluster, which no test needs.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
if ((${#missing[@]})); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    apt-get update -qq
    offered=()
    for package in "${missing[@]}"; do
      # Debian's testing release lacks a package now and then; the others are installed nevertheless.
      if [[ $(apt-cache policy "$package") =~ Candidate:\ [^\(] ]]; then
        offered+=("$package")
      else
        echo "not in this release of Debian: $package. The tests that need it are skipped." >&2
        [[ -z ${CI:-} ]] || exit 1
      fi
    done
    echo "installing ${offered[*]}"
    ./apt.sh "${offered[@]}"
  else
    echo "not installed: ${missing[*]}. The tests that need them are skipped; install them to run all." >&2
    [[ -z ${CI:-} ]] || exit 1
  fi
fi
if command -v npm >/dev/null && ! npm ls --prefix interop >/dev/null 2>&1; then
  npm install --prefix interop --silent --no-audit --no-fund --no-package-lock
fi
mongodb/build.sh || {
  echo "FerretDB was not built. The tests of the log in MongoDB are skipped." >&2
  [[ -z ${CI:-} ]] || exit 1
}
