#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what is missing, builds and runs the tests. With --all also the slow labels (stress, peers, gpu) and the same tests
# under the sanitizers. What cannot run on this machine says so and is counted as skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source app/setup.sh
packages+=(libboost-context-dev)  # fibers of the CUDA emulator; the tests build and pass without it, slower

all=false
case "${1:-}" in
  "") ;;
  --all) all=true ;;
  *)
    printf 'usage: tests/run.sh [--all]\n' >&2
    exit 2
    ;;
esac

slow='^(stress|peers|gpu)$'
closing=()
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# GUI tests fail on an event of more than 50 ms, which a busy machine can cause: a test fails when it fails three times.
# runTests TITLE BUILD_FOLDER CTEST_ARGUMENT...: goes on after failures, so that the last lines tell about every run.
runTests() {
  local title=$1 folder=$2
  shift 2
  say "$title"
  if ! QT_QPA_PLATFORM=offscreen ctest --test-dir "$folder" --output-on-failure --parallel "$(nproc)" --repeat until-pass:3 "$@" | tee "$log"; then
    failed=1
  fi
  closing+=("$title:" "$(sed -n '/tests passed\|No tests were found/,$p' "$log")")
}

installMissing
buildPreset release
runTests "tests" build/release --label-exclude "$slow"
if $all; then
  for label in stress peers gpu; do
    runTests "label $label" build/release --label-regex "^$label\$"
  done
  export UBSAN_OPTIONS=print_stacktrace=1
  export LSAN_OPTIONS=suppressions=$PWD/tests/support/lsan.supp
  export TSAN_OPTIONS=suppressions=$PWD/tests/support/tsan.supp
  for preset in asan tsan; do
    buildPreset "$preset"
    runTests "tests under $preset" "build/$preset" --label-exclude "$slow"
  done
fi

say "summary"
printf '%s\n' "${closing[@]}"
exit "$failed"
