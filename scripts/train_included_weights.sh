#!/usr/bin/env bash
# Trains the included weights, then those for single garments:
#     bash scripts/train_included_weights.sh [DATA [option of train.py ...]]
#
# DATA (default: .) holds the clones clothing-co-parsing and clothing-dataset, and the saliency weights u2netp.onnx; the
# tables are written there. results/, logs/, cloth_segm_u2netp.pth and garments_u2netp.pth are written where this is
# run. Run it again to continue after an interruption: each step is done once.
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

train() { # RECIPE START
    if [ -f "results/$1/latest.pth" ]; then
        python "$repository/train.py" --name "$1" --resume "${more[@]}"
    else
        python "$repository/train.py" --options "$repository/recipes/$1.yml" --data_root "$data" \
            --unet_checkpoint "$2" "${more[@]}"
    fi
}

last() { # RECIPE: the weights of its last iteration
    find "results/$1/checkpoints" -name 'itr_*.pth' | sort | tail -n 1
}

export_last() { # RECIPE FILE
    if [ ! -f "$2" ]; then
        python "$repository/export.py" --checkpoint_path "$(last "$1")" --output "$2" \
            --fine_width 288 --fine_height 288 --photos "$data/ccp/val"
    fi
}

prepare prepare_ccp.py ccp --ccp "$data/clothing-co-parsing"
prepare prepare_products.py products --products "$data/clothing-dataset" --saliency "$data/u2netp.onnx" --size 256

# The included weights: labelled street photographs alone. They label those that only have tags.
train street "$data/u2netp.onnx"
export_last street cloth_segm_u2netp.pth
if [ ! -f "$data/ccp/tagged_labels.csv" ]; then
    python "$repository/scripts/pseudo_label.py" --checkpoint_path "$(last street)" --fine_width 288 --fine_height 288 \
        --flip --image_folder "$data/ccp/tagged" --tags "$data/ccp/tagged.csv" --output "$data/ccp/tagged_labels.csv" \
        --tag_map "$repository/recipes/tags.yml"
fi

# All sources, in two trainings.
train all_sources "$(last street)"
train garments "$(last all_sources)"
export_last garments garments_u2netp.pth
