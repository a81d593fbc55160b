#!/usr/bin/env bash
# Judges what tools/train_compared.sh has trained, and prints one table: the paper's figures and ours, those who copy, the
# paper's orderings, and what each training had (docs/paper.md). Stopped, the same command goes on.
#   tools/judge_compared.sh DATA RUNS OUT [OPTION OF sidgan paper table1 ...]
set -euo pipefail
data=$1 runs=$2 out=$3
shift 3
here=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH=$here/src
methods=()
for pair in sidgan=SIDGAN lipgan=LipGAN wav2lip=Wav2Lip wav2lip384=Wav2Lip-384 pcavs=PC-AVS; do
  run=$runs/${pair%%=*}
  [ -f "$run/weights.safetensors" ] && methods+=(--method "${pair#*=}=$run")
done
[ ${#methods[@]} -gt 0 ] || { echo "$runs holds no trained system; tools/train_compared.sh makes them" >&2; exit 2; }
python3 -m sidgan paper table1 "${methods[@]}" --data "hdtf=$data" --split heldout --out "$out" "$@"
