#!/usr/bin/env bash
# Starts Billing Ledger. With Orleans where its packages are to be had: the service with a silo inside, and the Orleans dashboard.
# Elsewhere with the embedded engine: the same ledger, without clusters. ENGINE=orleans or ENGINE=embedded forces one.
# Whatever is given goes on to the service: ./run.sh --Billing:Catalog=catalogs/summarizer.json
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

command -v dotnet >/dev/null 2>&1 && dotnet --list-sdks | grep -q '^10\.' || {
  echo "The .NET SDK 10 is needed: https://dotnet.microsoft.com/download/dotnet/10.0" >&2
  exit 1
}

choose() {
  case "${ENGINE:-}" in
    [Oo]rleans) engine=Orleans; why="ENGINE says so" ;;
    [Ee]mbedded) engine=Embedded; why="ENGINE says so" ;;
    "")
      cd "$here"
      . scripts/engine.sh
      if orleans_restores Billing.Api; then
        engine=Orleans; why="its packages restore here"
      else
        engine=Embedded; why="the Orleans packages do not restore here ($engine_reason)"
      fi
      cd - >/dev/null ;;
    *) echo "ENGINE is '$ENGINE'; it must be orleans or embedded." >&2; exit 1 ;;
  esac
}
choose
echo "Engine: $engine, because $why."
# The journal is kept where this was started.
exec dotnet run --project "$here/Billing.Api" -p:Engine="$engine" -- "$@"
