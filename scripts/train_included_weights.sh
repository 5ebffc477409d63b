#!/usr/bin/env bash
# Trains weights like the included ones, in one run over all sources:
#     bash scripts/train_included_weights.sh [DATA [option of train.py ...]]
#
# DATA (default: .) holds the clones clothing-co-parsing, clothing-dataset and images, the folder rendered of
# scripts/render_people, the saliency weights u2netp.onnx, and pictures without people in wallpapers, if there are any;
# docs/train.md says where all that comes from. The tables are written there. results/, logs/ and cloth_segm_u2netp.pth
# are written where this is run. Run it again to continue after an interruption: each step is done once.
# PROCESSES=N trains in N processes: one for each GPU, or on a CPU.
set -euo pipefail
repository=$(dirname "$0")/..
data=${1:-.}
more=("${@:2}")
name=included_weights
train=(python "$repository/train.py")
if [ "${PROCESSES:-1}" -gt 1 ]; then train=(torchrun --nproc_per_node "$PROCESSES" "$repository/train.py"); fi

prepare() { # SCRIPT FOLDER [option ...]: a folder of tables or pictures, which is there when it is whole
    if [ ! -d "$data/$2" ]; then # exit code 1 and a whole folder: photos that cannot be read were skipped
        python "$repository/scripts/$1" --output_dir "$data/$2" "${@:3}" || [ -d "$data/$2" ]
    fi
}

if [ ! -d "$data/rendered/labels" ]; then
    echo "error: there is no $data/rendered/labels; render people first, docs/rendered_people.md says how" >&2
    exit 1
fi
prepare prepare_ccp.py ccp --ccp "$data/clothing-co-parsing"
prepare prepare_products.py products --products "$data/clothing-dataset" --saliency "$data/u2netp.onnx" --size 256 \
    --leave_out "$repository/recipes/validation_garments.csv" # the 150 that the card measures
prepare prepare_portraits.py portraits --portraits "$data/images/congress/450x550" --saliency "$data/u2netp.onnx" \
    --validation "$repository/recipes/validation_portraits.csv"
pictures=()
if [ -d "$data/wallpapers" ]; then pictures=(--pictures "$data/wallpapers"); fi
prepare prepare_empty.py empty "${pictures[@]}"

# The included weights label the street photographs that only have tags.
if [ ! -f "$data/ccp/tagged_labels.csv" ]; then
    python "$repository/scripts/pseudo_label.py" --flip --image_folder "$data/ccp/tagged" --tags "$data/ccp/tagged.csv" \
        --tag_map "$repository/recipes/tags.yml" --output "$data/ccp/tagged_labels.csv" ||
        [ -f "$data/ccp/tagged_labels.csv" ]
fi

if [ -f "results/$name/latest.pth" ]; then
    "${train[@]}" --name "$name" --resume "${more[@]}"
else
    "${train[@]}" --options "$repository/recipes/$name.yml" --data_root "$data" \
        --unet_checkpoint "$data/u2netp.onnx" "${more[@]}"
fi
if [ ! -f cloth_segm_u2netp.pth ]; then
    last=$(find "results/$name/checkpoints" -name 'itr_*.pth' | sort | tail -n 1)
    python "$repository/export.py" --checkpoint_path "$last" --output cloth_segm_u2netp.pth --fine_width 288 \
        --fine_height 288 --photos "$data/ccp/val"
fi
