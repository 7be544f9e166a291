#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what is missing, builds, runs the main job on the bundled sample (compare, pictures, an export with its proof) and, where
# there is a display, opens the sample in the window. Results go to build/first-run, or to the folder named as argument.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source app/setup.sh

out=${1:-build/first-run}
sample=resources/sample/minilm-sample.safetensors
tensor=encoder.layer.0.intermediate.dense.weight

installMissing
buildPreset release nibblescope nibblescope-cli

cli=build/release/app/nibblescope-cli
window=build/release/app/nibblescope
rm -rf "$out/packed" "$out/pictures"
mkdir -p "$out"

say "comparing on $tensor"
"$cli" compare "$sample" uniform hqq nf4 --vary 'bits=8|4|3' --tensor "$tensor"
"$cli" compare "$sample" uniform hqq nf4 --vary 'bits=8|4|3' --histogram 512 --json >"$out/compare.json"

say "drawing the pages"
"$window" report "$sample" --out "$out/pictures"

say "exporting, and reading back with the independent decoder"
"$cli" export "$sample" hqq:bits=4,group=64 --format hqq --out "$out/packed" --all

say "done"
printf 'figures:      %s\npictures:     %s\npacked files: %s\n' "$out/compare.json" "$out/pictures" "$out/packed"
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  exec "$window" "$sample"
fi
printf 'There is no display here; with one, the window would open now: %s %s\n' "$window" "$sample"
