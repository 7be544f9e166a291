# SPDX-License-Identifier: GPL-3.0-or-later
# What app/run.sh and tests/run.sh share: installing missing Debian packages and building one preset. Sourced, not run.

packages=(
  g++ cmake ninja-build pkg-config
  qt6-base-dev qt6-svg-dev libqcustomplot-dev libgl1-mesa-dev fonts-dejavu-core
  libeigen3-dev libhwy-dev libtbb-dev libsimdjson-dev nlohmann-json3-dev libcli11-dev libexpected-dev
  libzip-dev zlib1g-dev libbenchmark-dev
)

say() { printf '\n== %s\n' "$*" >&2; }

isInstalled() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

asRoot() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    printf 'These need root, and there is no sudo here. Run as root:\n  %s\n' "$*" >&2
    return 1
  fi
}

installMissing() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    say "no apt-get here: going on with what is installed (${packages[*]})"
    return
  fi
  local missing=() package
  for package in "${packages[@]}"; do
    isInstalled "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing ${missing[*]}"
  asRoot apt-get update
  asRoot env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# buildPreset PRESET [TARGET...]: everything, where no target is named.
buildPreset() {
  local preset=$1 targets=()
  shift
  [ $# -eq 0 ] || targets=(--target "$@")
  say "building $preset with $(nproc) cores"
  cmake --preset "$preset"
  cmake --build "build/$preset" --parallel "$(nproc)" ${targets[@]+"${targets[@]}"}
}
