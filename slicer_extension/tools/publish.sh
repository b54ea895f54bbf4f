#!/usr/bin/env bash
# Publishes this folder as a repository of its own, as the catalogue of Slicer extensions wants it: with
# CMakeLists.txt at its root. Run in a checkout of the project:
#
#   slicer_extension/tools/publish.sh git@github.com:OWNER/SlicerItkInfer.git
set -euo pipefail
remote=${1:?"which repository? For example git@github.com:OWNER/SlicerItkInfer.git"}
cd "$(dirname "$0")/../.."
split=$(git subtree split --prefix slicer_extension)
git push "$remote" "$split:refs/heads/main"
echo "Pushed $split to $remote. The catalogue entry is slicer_extension/ItkInfer.json."
