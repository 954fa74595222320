#!/usr/bin/env bash
# Runs every test and prints the line coverage. Installs what the tests need on Debian or Ubuntu when it is missing.
# The embedded engine is tested whole. Where the Orleans packages restore, what depends on the engine is tested with Orleans, too.
set -euo pipefail
cd "$(dirname "$0")"

install() { # a package of Debian or Ubuntu
  command -v apt-get >/dev/null 2>&1 || { echo "$1 is needed and cannot be installed here." >&2; exit 1; }
  echo "Installing $1 ..."
  local sudo; sudo=$([ "$(id -u)" -eq 0 ] || echo sudo)
  if ! { $sudo apt-get update -qq && $sudo apt-get install -y -qq "$1" >/dev/null; }; then
    echo "$1 cannot be installed from this system's packages. The .NET SDK is at https://dotnet.microsoft.com/download/dotnet/10.0" >&2
    exit 1
  fi
}
{ command -v dotnet >/dev/null 2>&1 && dotnet --list-sdks | grep -q '^10\.'; } || install dotnet-sdk-10.0
command -v curl >/dev/null 2>&1 || install curl
# The tests start servers of their own; the package must not start one beside them.
if ! { command -v pg_config >/dev/null 2>&1 && [ -x "$(pg_config --bindir)/initdb" ]; } && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
  sudo=$([ "$(id -u)" -eq 0 ] || echo sudo)
  conf=/etc/postgresql-common/createcluster.conf
  [ -e "$conf" ] || { $sudo mkdir -p "${conf%/*}"; echo 'create_main_cluster = false' | $sudo tee "$conf" >/dev/null; }
  install postgresql
fi

export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

results=artifacts/test-results
rm -rf "$results"
dotnet build BillingLedger.sln --nologo -v quiet
status=0
dotnet test Billing.Tests --no-build --nologo --collect "XPlat Code Coverage" --results-directory "$results" \
  --logger "console;verbosity=minimal" --logger "trx;LogFileName=results.trx" || status=$?

# Lines in source files of a project (generated ones left out), from the Cobertura report: covered / all.
coverage() {
  awk -v project="$1" '
    /<class / { file = $0; sub(/.*filename="/, "", file); sub(/".*/, "", file); take = (file ~ project) && (file !~ /\/obj\//) }
    take && /<line / {
      number = $0; sub(/.*number="/, "", number); sub(/".*/, "", number)
      hits = $0; sub(/.*hits="/, "", hits); sub(/".*/, "", hits)
      key = file ":" number
      if (!(key in seen)) { seen[key] = 0; all++ }
      if (hits + 0 > 0 && !seen[key]) { seen[key] = 1; covered++ }
    }
    END { printf "%.1f", all ? 100 * covered / all : 0 }' "$report"
}

report=$(find "$results" -name coverage.cobertura.xml | head -n 1)
if [ -n "$report" ]; then
  ledger=$(coverage 'Billing.Ledger/')
  echo
  echo "Line coverage: Billing.Ledger $ledger % (at least 90), whole $(coverage 'Billing') %"
  if [ "$status" -eq 0 ] && awk -v c="$ledger" 'BEGIN { exit !(c < 90) }'; then
    echo "The coverage of Billing.Ledger is below 90 %." >&2
    status=1
  fi
fi

count() { # passed or failed, in a report
  grep -o '<Counters [^>]*' "$1" 2>/dev/null | sed -n "s/.* $2=\"\([0-9]*\)\".*/\1/p"
}
if [ -f "$results/results.trx" ]; then
  echo "Embedded engine: $(count "$results/results.trx" passed) passed, $(count "$results/results.trx" failed) failed"
fi

# What the engine has no part in (the rules, the journals, Stripe's shapes) is not run a second time.
. scripts/engine.sh
if orleans_restores Billing.Tests; then
  dotnet build BillingLedger.sln --nologo -v quiet -p:Engine=Orleans
  dotnet test Billing.Tests -p:Engine=Orleans --no-build --nologo --results-directory "$results/orleans" \
    --filter "FullyQualifiedName~Billing.Tests.Orleans|FullyQualifiedName~Billing.Tests.Scenarios|FullyQualifiedName~Billing.Tests.Grains|FullyQualifiedName~Billing.Tests.Api" \
    --logger "console;verbosity=minimal" --logger "trx;LogFileName=results.trx" || status=$?
  echo "Orleans engine: $(count "$results/orleans/results.trx" passed) passed, $(count "$results/orleans/results.trx" failed) failed"
else
  echo "Orleans engine: SKIPPED, because its packages do not restore here: $engine_reason"
fi
exit "$status"
