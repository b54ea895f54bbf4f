#!/usr/bin/env bash
# Measures on a GPU in under 5 minutes; one JSON file: $RESULTS/bench.json (benchmarks/gpu/results).
#
#   bash benchmarks/gpu/bench.sh              on the GPU machine; page.py makes docs/performance-gpu.md from the file
#   REHEARSE=1 bash benchmarks/gpu/bench.sh   on any machine: small sizes, with torch's CPU as the device
set -uo pipefail
cd "$(dirname "$0")/../.."
. benchmarks/gpu/site.sh
export PYTHONPATH="$PWD/benchmarks/gpu:$PYTHONPATH"
chosen=(--device cuda:0 --seconds "${SECONDS_LEFT:-280}")
[ -n "${REHEARSE:-}" ] && chosen=(--device cpu --small --seconds 600)
"$PYTHON" benchmarks/gpu/bench.py "${chosen[@]}" --out "$RESULTS/bench.json" "$@"
