#!/usr/bin/env bash
# Installs the programs that the benchmark needs and pip does not have: nginx with Nchan, a C compiler, strace and
# Chromium, if they are missing and this user may install them. Builds a database, too. If one of them is still
# missing, the benchmark says what it leaves out.
set -euo pipefail

missing=()
for pair in nginx:nginx-light gcc:gcc strace:strace chromium:chromium; do
  PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[[ -f /usr/include/stdio.h ]] || missing+=(libc6-dev)
[[ -f /usr/lib/nginx/modules/ngx_nchan_module.so ]] || missing+=(libnginx-mod-nchan)
if ((${#missing[@]})); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]}"
    apt-get update -qq
    "$(dirname "$0")"/../tests/apt.sh "${missing[@]}"
  else
    echo "not installed: ${missing[*]}; what needs them is left out" >&2
  fi
fi
"$(dirname "$0")"/../tests/mongodb/build.sh || echo "not built: FerretDB; what needs it is left out" >&2
