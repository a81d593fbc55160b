#!/usr/bin/env bash
# Expert, then generator, on prepared folders that fit in the device's memory. Needs torch, lightning, OpenCV and SciPy only.
#   tools/train_all.sh DATA OUT SYNC_STEPS GAN_STEPS [PRESET] [SETTING ...]
# Each part stops after MINUTES (default: no limit) and is resumed by the same command.
set -euo pipefail
data=$1 out=$2 sync_steps=$3 gan_steps=$4 preset=${5:-tiny128}
shift $(($# < 5 ? $# : 5))
limit=${MINUTES:+--minutes $MINUTES}
here=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH=$here/src PYTHONUNBUFFERED=1
# shellcheck disable=SC2086
python3 -m sidgan train syncnet "$data" --steps "$sync_steps" --run "$out/syncnet" $limit
# shellcheck disable=SC2086
python3 -m sidgan train gan "$data" --expert "$out/syncnet/weights.safetensors" --config "$preset" \
  --steps "$gan_steps" --run "$out/gan" $limit "$@"
