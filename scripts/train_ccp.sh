#!/usr/bin/env bash
# Trains the weights that come along: bash scripts/train_ccp.sh [DATA [SALIENCY_WEIGHTS [option of train.py ...]]]
# Run it again to go on where it was interrupted. Writes results/, logs/ and cloth_segm_u2netp.pth where it is run.
set -euo pipefail
repository=$(dirname "$0")/..
data=${1:-../shared/data/ccp}
saliency=${2:-../shared/weights/u2netp.onnx}
run=results/ccp_u2netp

resume=--no-resume
if [ -f $run/latest.pth ]; then resume=--resume; fi
python "$repository/train.py" --name ccp_u2netp --model u2netp --unet_checkpoint "$saliency" \
    --image_folder "$data/train" --df_path "$data/train.csv" \
    --val_image_folder "$data/val" --val_df_path "$data/val.csv" \
    --fine_width 256 --fine_height 256 --smaller_first 0.5:0.5 0.75:0.85 \
    --batchSize 8 --nThreads 1 --channels_last --iter 3400 \
    --optimizer adamw --lr 0.001 --weight_decay 0.01 --schedule poly --warmup_iter 50 --ema_decay 0.998 \
    --iou_weight 1 --augment full --min_crop_area 0.25 --val_freq 425 --save_freq 85 "${@:3}" $resume

# The last iteration's weights, at the size that scores best on the validation photographs.
last=$(find $run/checkpoints -name 'itr_*.pth' | sort | tail -n 1)
python "$repository/export.py" --checkpoint_path "$last" --output cloth_segm_u2netp.pth --fine_width 288 --fine_height 288
