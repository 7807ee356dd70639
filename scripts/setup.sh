#!/usr/bin/env bash
# Makes .venv ready: a virtual environment with exactly what uv.lock names. Runs in a second when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=.venv
stamp=$venv/.vmkeep-setup
want=$(cat pyproject.toml uv.lock scripts/setup.sh | cksum)

# Commands start in half the time from compiled modules, and some environments forbid Python to write them by itself.
compile_ours() { $venv/bin/python -m compileall -q include plugins dags; }

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
  compile_ours
  exit 0
fi

if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
  echo "setup: vmkeep needs Python 3.11, 3.12 or 3.13; '$python' is $("$python" --version 2>&1 || echo missing). Set PYTHON=/path/to/python3.11" >&2
  exit 1
fi

if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  scripts/debian.sh python3-venv
fi

if [ ! -x $venv/bin/python ] || ! $venv/bin/python -c '' 2>/dev/null; then
  echo "setup: making $venv"
  rm -rf $venv
  "$python" -m venv $venv
fi

uv_version=$(sed -n 's/^ *"uv==\(.*\)",$/\1/p' pyproject.toml)
if [ "$($venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$uv_version" ]; then
  $venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
fi
echo "setup: installing what uv.lock names"
VIRTUAL_ENV=$PWD/$venv $venv/bin/uv sync --quiet --frozen --all-extras --active --compile-bytecode
compile_ours
echo "$want" > "$stamp"
