# Sourced by check.sh and bench.sh in the root of a checkout: unpacks what pack.sh packed, if it is there.
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
PYTHON=${PYTHON:-python3}
RESULTS=${RESULTS:-benchmarks/gpu/results}
pack=${PACK:-gpu-pack/site.tar.xz}
site=${SITE:-/tmp/itk_infer-gpu-site}
if [ -f "$pack" ] && [ ! -d "$site" ]; then
  mkdir -p "$site"
  tar -C "$site" --strip-components=1 -xJf "$pack"
fi
[ -d "$site" ] && PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$RESULTS"
