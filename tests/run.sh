#!/usr/bin/env bash
# Runs all tests, then says how many there were and which took longest. Options go to `cargo nextest run`.
#
#   unit and integration tests ─► documentation tests ─► lint of the shipped runbooks ─► total, ten slowest
#
# A failing part does not hide the ones after it; the exit code is 1 if any of them failed.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

nextest_version=0.9.143
target=${CARGO_TARGET_DIR:-target}
report=$target/nextest/${NEXTEST_PROFILE:-default}/junit.xml
doc_log=$target/doc-tests.log
failed=()

if ! command -v cargo-nextest >/dev/null; then
  cargo install cargo-nextest --locked --version "$nextest_version"
fi

rm -f "$report" "$doc_log"
mkdir -p "$target"

cargo nextest run --locked --status-level slow --final-status-level slow "$@" || failed+=("unit and integration tests")
cargo test --locked --doc 2>&1 | tee "$doc_log" || failed+=("documentation tests")
for runbook in arbitex ampora; do
  cargo run --locked --quiet -- lint --strict "assets/runbooks/$runbook.yaml" >/dev/null || failed+=("lint of $runbook")
  cargo run --locked --quiet -- test "assets/runbooks/$runbook.test.yaml" | grep -v '^ok ' || failed+=("tests of $runbook")
done

# One "seconds name" a line. nextest writes one <testcase …> a line, whatever the outcome.
cases() {
  [ -f "$report" ] || return 0
  awk '
    function value(key,   at) {
      at = index($0, " " key "=\"")
      if (!at) return ""
      at = substr($0, at + length(key) + 3)
      return substr(at, 1, index(at, "\"") - 1)
    }
    /<testcase / { printf "%s %s::%s\n", value("time"), value("classname"), value("name") }
  ' "$report"
}

ran=$(cases | wc -l)
docs=$(awk '/^test result:/ { for (i = 2; i <= NF; i++) if ($i ~ /^(passed|failed);?$/) n += $(i - 1) } END { print n + 0 }' "$doc_log")

echo
echo "The ten slowest tests:"
cases | sort -rn | sed -n 1,10p | awk '{ printf "%9.2f s  %s\n", $1, $2 }'
echo
echo "Total: $((ran + docs)) tests ($ran unit and integration, $docs documentation)."

if [ "${#failed[@]}" -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
