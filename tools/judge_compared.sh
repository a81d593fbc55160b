#!/usr/bin/env bash
# Judges what tools/train_compared.sh has trained, each into a result folder of its own.
#   tools/judge_compared.sh DATA EXPERT RUNS OUT [OPTION OF sidgan eval ...]
set -euo pipefail
data=$1 expert=$2 runs=$3 out=$4
shift 4
here=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH=$here/src
for run in "$runs"/*/; do
  python3 -m sidgan eval "$run" "$data" --expert "$expert" --out "$out/$(basename "$run")" "$@"
done
