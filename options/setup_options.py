"""Options of setup_model_weights.py."""

from dataclasses import dataclass

from options.base_options import CLASS_MAP_HELP, BaseOptions, option


@dataclass
class SetupOptions(BaseOptions):
    """Fit published saliency weights with a clothes head, to start training from."""

    model: str = option("u2net", "network", ("u2net", "u2netp"))
    weights: str | None = option(None, "local .pth or .onnx of that network; default: download the published .pth")
    class_map: str | None = option(None, CLASS_MAP_HELP)
    save_dir: str = option("prev_checkpoints", "folder of the download and of the result")
    seed: int = option(0, "of the new head's initialisation", at_least=0)
