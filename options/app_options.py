"""Options of app.py."""

from dataclasses import dataclass

from data.photos.open import MAX_MEGAPIXELS
from options.base_options import PredictorOptions, option


@dataclass
class AppOptions(PredictorOptions):
    """Serve a page that segments the photos dropped on it."""

    host: str = option(
        "127.0.0.1",
        "address to listen on: the default serves this machine only, 0.0.0.0 everyone",
        metavar="ADDRESS",
        group="page",
    )
    port: int = option(7860, "port to listen on", at_least=1, at_most=65535)
    max_photos: int = option(20, "largest number of photos at once; the rest is left out", at_least=1)
    max_megabytes: int = option(20, "refuse larger files", at_least=1)
    max_megapixels: float = option(MAX_MEGAPIXELS, "refuse larger photos", at_least=0.001)
    keep_minutes: int = option(10, "how long results can be downloaded", at_least=1)
