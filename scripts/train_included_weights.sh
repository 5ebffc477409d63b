#!/usr/bin/env bash
# Trains the included weights:
#     bash scripts/train_included_weights.sh [DATA [option of train.py ...]]
#
# DATA (default: .) holds the clones clothing-co-parsing and clothing-dataset, and the saliency weights u2netp.onnx; the
# tables are written there. results/, logs/ and cloth_segm_u2netp.pth are written where this is run. Run it again to
# continue after an interruption: each step is done once.
set -euo pipefail
repository=$(dirname "$0")/..
data=${1:-.}
more=("${@:2}")

prepare() { # SCRIPT FOLDER [option ...]: a folder of tables, which gets its name when it is whole
    if [ -d "$data/$2" ]; then return; fi
    rm -rf "$data/$2.part"
    python "$repository/scripts/$1" --output_dir "$data/$2.part" "${@:3}"
    mv "$data/$2.part" "$data/$2"
}

train() { # RECIPE START [option ...]
    if [ -f "results/$1/latest.pth" ]; then
        python "$repository/train.py" --name "$1" --resume "${more[@]}"
    else
        python "$repository/train.py" --options "$repository/recipes/$1.yml" --data_root "$data" \
            --unet_checkpoint "$2" "${@:3}" "${more[@]}"
    fi
}

last() { # RECIPE: the weights of its last iteration
    find "results/$1/checkpoints" -name 'itr_*.pth' | sort | tail -n 1
}

prepare prepare_ccp.py ccp --ccp "$data/clothing-co-parsing"
prepare prepare_products.py products --products "$data/clothing-dataset" --saliency "$data/u2netp.onnx" --size 256 \
    --leave_out "$repository/recipes/validation_garments.csv" # the 150 that the card measures

# Labelled street photographs alone. The weights then label the street photographs that only have tags.
train street "$data/u2netp.onnx"
if [ ! -f "$data/ccp/tagged_labels.csv" ]; then
    python "$repository/scripts/pseudo_label.py" --checkpoint_path "$(last street)" --fine_width 288 --fine_height 288 \
        --flip --image_folder "$data/ccp/tagged" --tags "$data/ccp/tagged.csv" --output "$data/ccp/tagged_labels.csv" \
        --tag_map "$repository/recipes/tags.yml"
fi

# All sources, in two trainings: better on garments, worse on street photographs.
train all_sources "$(last street)"
train garments "$(last all_sources)"

# From the mean of both, all sources once more. On street photographs, the first weights are its teacher.
if [ ! -f results/mean.pth ]; then
    python "$repository/scripts/mean_of_weights.py" --weights "$(last garments)" "$(last street)" --shares 0.6 0.4 \
        --output results/mean.pth
fi
train people_and_garments results/mean.pth --teacher "$(last street)"
train included_weights "$(last people_and_garments)" --teacher "$(last street)"
if [ ! -f cloth_segm_u2netp.pth ]; then
    python "$repository/export.py" --checkpoint_path "$(last included_weights)" --output cloth_segm_u2netp.pth \
        --fine_width 288 --fine_height 288 --photos "$data/ccp/val"
fi
