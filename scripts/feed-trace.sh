#!/usr/bin/env bash
# Feeds a trace of real requests to a running service, as use of one feature by many organizations.
#
#   scripts/feed-trace.sh TRACE.csv [URL] [KEY]
#
# The CSV has the columns TIMESTAMP,ContextTokens,GeneratedTokens (times in UTC), as the Azure LLM inference traces have.
# One row is one usage record of ContextTokens + GeneratedTokens; rows go to organizations by row number modulo their number.
# Feeding again changes nothing: every record has its own command id.
#
#   ORGANIZATIONS=50  FEATURE=characters  PLAN=pro   what to record and for whom
#   KEEP_TIME=1       send the trace's own times (the service's clock must stand just after them); otherwise now
set -euo pipefail

csv=${1:?"usage: scripts/feed-trace.sh TRACE.csv [URL] [KEY]"}
url=${2:-http://localhost:5080}
key=${3:-bk_test_development}
organizations=${ORGANIZATIONS:-50}
feature=${FEATURE:-characters}
plan=${PLAN:-pro}
keep_time=${KEEP_TIME:-0}
batch=500

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

post() { # path, idempotency key, file with the body -> body on standard output, status in $work/status
  curl --silent --show-error --output "$work/answer" --write-out '%{http_code}' --request POST "$url$1" \
    --header "Authorization: Bearer $key" --header "Idempotency-Key: $2" --header 'Content-Type: application/json' --data-binary "@$3" > "$work/status"
  cat "$work/answer"
}

tr -d '\r' < "$csv" | awk -F, -v n="$organizations" -v size="$batch" -v feature="$feature" -v keep="$keep_time" -v dir="$work" '
  NR > 1 && NF >= 3 {
    row = NR - 2; org = row % n; nth = count[org]++; file = sprintf("%s/%05d-%05d.json", dir, org, int(nth / size))
    if (file in files) printf "," > file; else { printf "{\"items\":[" > file; files[file] = 1 }
    printf "{\"id\":\"row-%d\",\"feature\":\"%s\",\"quantity\":%d", row, feature, $2 + $3 > file
    if (keep) { time = $1; sub(/ /, "T", time); printf ",\"timestamp\":\"%sZ\"", substr(time, 1, 26) > file }
    printf "}" > file
  }
  END { for (file in files) printf "]}" > file }'

for ((i = 0; i < organizations; i++)); do
  printf '{"id":"trace-%d","plan":"%s"}' "$i" "$plan" > "$work/open"
  post /v1/organizations "trace-open-$i" "$work/open" > /dev/null
  case $(cat "$work/status") in
    201 | 409) ;; # 409: it was opened before
    *) echo "Opening trace-$i failed: $(cat "$work/answer")" >&2; exit 1 ;;
  esac
done

recorded=0 replayed=0 refused=0
total=$(find "$work" -name '*-*.json' | wc -l) sent=0
for file in "$work"/*-*.json; do
  name=$(basename "$file" .json)
  post "/v1/organizations/trace-$((10#${name%-*}))/usage/batch" "trace-$name" "$file" > /dev/null
  if [ "$(cat "$work/status")" != 200 ]; then echo "Batch $name failed: $(cat "$work/answer")" >&2; exit 1; fi
  count() { sed -n "s/^{.*\"$1\":\([0-9]*\).*/\1/p" <<< "$(head -c 200 "$work/answer")"; }
  recorded=$((recorded + $(count recorded))) replayed=$((replayed + $(count replayed))) refused=$((refused + $(count refused)))
  sent=$((sent + 1))
  [ -t 2 ] && printf '\r%d of %d batches' "$sent" "$total" >&2
done
[ -t 2 ] && echo >&2
echo "recorded $recorded, replayed $replayed, refused $refused"
