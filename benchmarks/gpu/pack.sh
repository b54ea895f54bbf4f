#!/usr/bin/env bash
# Packs what a GPU machine without network lacks into one file: packages for Python 3.12 on x86-64 Linux.
#
#   bash benchmarks/gpu/pack.sh [PACK]        default: gpu-pack/site.tar.xz (not committed)
#
# Take the checkout and that file to the machine; check.sh and bench.sh there unpack it.
set -euo pipefail
cd "$(dirname "$0")/../.."
pack=${1:-gpu-pack/site.tar.xz}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
platforms=()
for glibc in 2_39 2_34 2_31 2_28 2_27 2_24 2_17 2014 1; do
  case $glibc in *_*) name=manylinux_${glibc}_x86_64 ;; *) name=manylinux${glibc}_x86_64 ;; esac
  platforms+=(--platform "$name")
done
python3 -m pip --disable-pip-version-check install --quiet --no-deps --no-compile --only-binary=:all: \
  --python-version 3.12 --implementation cp "${platforms[@]}" --target "$work/site" \
  --requirement benchmarks/gpu/requirements.txt
mkdir -p "$(dirname "$pack")"
tar -C "$work" -cf - site | xz -T0 -6 > "$pack"
size=$(stat -c %s "$pack")
printf '%s: %d MiB\n' "$pack" $((size / 1048576))
if [ "$size" -gt $((58 * 1048576)) ]; then
  echo "larger than 58 MiB: with the checkout it may not fit in one load of 64 MiB" >&2
  exit 1
fi
