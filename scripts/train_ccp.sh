#!/usr/bin/env bash
# Trains the weights that come along: bash scripts/train_ccp.sh [DATA [SALIENCY_WEIGHTS [option of train.py ...]]]
# Run it again to go on where it was interrupted. Writes results/, logs/ and cloth_segm_u2netp.pth where it is run.
set -euo pipefail
repository=$(dirname "$0")/..
data=${1:-../shared/data/ccp}
saliency=${2:-../shared/weights/u2netp.onnx}

train() {
    local name=$1
    local resume=()
    if [ -f "results/$name/latest.pth" ]; then resume=(--resume); fi
    python "$repository/train.py" --name "$name" --model u2netp \
        --image_folder "$data/train" --df_path "$data/train.csv" \
        --val_image_folder "$data/val" --val_df_path "$data/val.csv" \
        --fine_width 256 --fine_height 256 --batchSize 8 --nThreads 1 --channels_last \
        --optimizer adamw --lr 0.001 --weight_decay 0.01 --schedule poly --warmup_iter 50 --ema_decay 0.998 \
        --iou_weight 1 --augment full --min_crop_area 0.25 "${@:2}" "${resume[@]}"
}

last_of() { find "results/$1/checkpoints" -name 'itr_*.pth' | sort | tail -n 1; }

train ccp_whole --unet_checkpoint "$saliency" --iter 3400 --smaller_first 0.5:0.5 0.75:0.85 \
    --val_freq 425 --save_freq 85 "${@:3}"
train ccp_close --unet_checkpoint "$(last_of ccp_whole)" --iter 2400 --smaller_first 0.5:0.3 0.75:0.75 \
    --close_ups 0.35 --val_freq 600 --save_freq 100 "${@:3}"
python "$repository/export.py" --checkpoint_path "$(last_of ccp_close)" --output cloth_segm_u2netp.pth \
    --fine_width 288 --fine_height 288
