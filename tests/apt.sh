#!/usr/bin/env bash
# Installs Debian's packages without starting what is in them: nginx would listen on port 80, Prometheus on 9090, and
# where another program has that port, the installation would fail.
set -euo pipefail

policy=/usr/sbin/policy-rc.d # asked before a package starts its service; 101 is no
if [[ ! -e $policy ]]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
