#!/usr/bin/env bash
# Train the studies of the gallery and of the tests of the docs, and store them: bash docs/mkdocs/studies.sh (15 CPU minutes)
set -euo pipefail
out=$(cd "$(dirname "$0")" && pwd)/studies.tar.xz
cd "$(mktemp -d)"

cat > rates.yaml <<'YAML'
name: rates
base: regnetx
parameters:
  learning_rate: {distribution: log_uniform, low: 0.01, high: 1, step: null}
  weight_decay: {distribution: log_uniform, low: 1.0e-5, high: 1.0e-3, step: null}
YAML
tiny=(+template.stem.width=8 +template.stem.stride=1 '+template.strides=[1,1,2,2]' data=digits device.dtype=float32)
small=("${tiny[@]}" 'complexity.macs=[1e5,8e5]' data.subset=800)

designspace sweep experiment=smoke probe=true run=runs/smoke
designspace sweep 'spaces=[rates.yaml]' n=12 "${tiny[@]}" 'complexity.macs=[1e5,4e5]' data.subset=400 recipe.epochs=1 run=runs/rates
designspace sweep 'spaces=[anynetx_a]' n=60 "${small[@]}" recipe.epochs=3 run=runs/anynet_a
designspace sweep 'spaces=[regnetx]' n=30 "${small[@]}" recipe.epochs=3 run=runs/regnetx
designspace sweep 'spaces=[anynetx_a]' n=20 "${small[@]}" recipe.epochs=1 run=runs/epochs-1
designspace sweep 'spaces=[anynetx_a]' n=20 "${small[@]}" recipe.epochs=6 'training_seeds=[1]' run=runs/epochs-6
designspace sweep 'spaces=[regnetx]' n=24 search=tpe budget=48 scores=true "${small[@]}" recipe.epochs=2 run=runs/searched

tar --sort=name --owner=0 --group=0 --numeric-owner -cJf "$out" \
  runs/*/manifest.json runs/*/models.jsonl runs/*/records runs/*/times runs/*/proposals
