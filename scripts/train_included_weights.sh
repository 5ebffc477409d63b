#!/usr/bin/env bash
# Trains the included weights: bash scripts/train_included_weights.sh [DATA_DIR [SALIENCY_WEIGHTS [option of train.py ...]]]
# Run it again to continue after an interruption. Writes results/, logs/ and cloth_segm_u2netp.pth where it is run.
set -euo pipefail
repository=$(dirname "$0")/..
data=${1:-ccp}
saliency=${2:-prev_checkpoints/u2netp.onnx}
run=results/included_weights

options=(--options "$repository/recipes/included_weights.yml")
if [ -f $run/latest.pth ]; then options=(--name included_weights --resume); fi
python "$repository/train.py" "${options[@]}" --unet_checkpoint "$saliency" \
    --image_folder "$data/train" --df_path "$data/train.csv" \
    --val_image_folder "$data/val" --val_df_path "$data/val.csv" "${@:3}"

# The last iteration's weights, at the size that scores best on the validation photographs.
last=$(find $run/checkpoints -name 'itr_*.pth' | sort | tail -n 1)
python "$repository/export.py" --checkpoint_path "$last" --output cloth_segm_u2netp.pth \
    --fine_width 288 --fine_height 288 --photos "$data/val"
