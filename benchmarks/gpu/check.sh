#!/usr/bin/env bash
# The tests that need a GPU, in under 4 minutes; results as JUnit XML in $RESULTS (benchmarks/gpu/results).
#
#   bash benchmarks/gpu/check.sh              on the GPU machine
#   REHEARSE=1 bash benchmarks/gpu/check.sh   on any machine: the same files, with torch's CPU as the device
set -uo pipefail
cd "$(dirname "$0")/../.."
. benchmarks/gpu/site.sh
"$PYTHON" - <<'P'
import torch
print("torch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())
print("devices:", [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())])
P
# A test that hangs must leave time for the others: the machine is lent for minutes, the longest test takes seconds.
chosen=(-m gpu --timeout 120)
[ -n "${REHEARSE:-}" ] && chosen=(-k "cpu or gpu")
# The versions there are not those of constraints.txt: their deprecation warnings are not what is tested.
"$PYTHON" -m pytest tests/test_gpu.py tests/test_device.py tests/engine tests/model/kinds/test_mmengine.py \
  "${chosen[@]}" -o filterwarnings=default -p no:cacheprovider -q --junitxml "$RESULTS/check.xml"
