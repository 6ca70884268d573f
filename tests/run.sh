#!/usr/bin/env bash
# Runs pytest with the given arguments and with twice as many workers as processors, since tests mostly wait for
# browsers, databases and clocks. Failed tests then run once more, one at a time. A test that failed because of the
# load passes on its own, and is named; one that fails on its own fails the run. More than ten failures do not come
# from the load, so they are not repeated.
set -uo pipefail
cache=.pytest_cache/v/cache/lastfailed
pytest=${PYTEST:-.venv/bin/pytest}

"$pytest" --cache-clear -n $((2 * $(getconf _NPROCESSORS_ONLN))) --dist worksteal "$@"
status=$?
[[ $status == 1 && -f $cache ]] || exit $status
mapfile -t failed < <(sed -n 's/^  "\(.*\)": true,\{0,1\}$/\1/p' "$cache")
((${#failed[@]} > 0 && ${#failed[@]} <= 10)) || exit $status

printf '\nonce more, one at a time:\n'
printf '  %s\n' "${failed[@]}"
exec "$pytest" --last-failed --last-failed-no-failures none -n 0 "$@"
