#!/usr/bin/env bash
# SIDGAN and the systems it is compared with, on the same data for the same number of updates (docs/baselines.md).
#   tools/train_compared.sh DATA EXPERT OUT STEPS [SETTING ...]
# MINUTES limits each (default: no limit); KINDS are some of sidgan lipgan wav2lip wav2lip384 pcavs (default: all). The same
# command goes on where it was.
set -euo pipefail
data=$1 expert=$2 out=$3 steps=$4
shift 4
here=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH=$here/src PYTHONUNBUFFERED=1
for kind in ${KINDS:-sidgan lipgan wav2lip wav2lip384 pcavs}; do
  preset=${kind}_small
  [ "$kind" = sidgan ] && preset=tiny128
  python3 -m sidgan train gan "$data" --expert "$expert" --config "$preset" --steps "$steps" --run "$out/$kind" \
    ${MINUTES:+--minutes "$MINUTES"} "${@/#/--set=}"
done
