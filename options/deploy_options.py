"""Options of the programs below deploy/."""

from dataclasses import dataclass
from pathlib import Path

from networks.weights.info import INCLUDED_WEIGHTS
from options.base_options import WEIGHT_FILES, BaseOptions, option
from utils.errors import UserError

MODEL_CONFIG = Path(__file__).parents[1] / "deploy/model-config.yaml"


@dataclass
class ArchiveOptions(BaseOptions):
    """Build the model archive that TorchServe loads."""

    checkpoint_path: str = option(str(INCLUDED_WEIGHTS), f"weights: {WEIGHT_FILES}", metavar="FILE")
    output_dir: str = option("deploy/model_store", "folder of the archive, cloth_seg.mar", metavar="FOLDER")
    model_config: str = option(str(MODEL_CONFIG), "batch size, workers, timeouts, precision, limits", metavar="FILE")


@dataclass
class ClientOptions(BaseOptions):
    """Segment photographs with a deployed network: on Vertex AI, or on any TorchServe with --url."""

    input: list[str] = option(help="photos, or folders of them", metavar="PATH")
    output: str = option(help="folder of the results; for a single photo also a file name", metavar="FOLDER")
    project: str | None = option(None, "Google Cloud project ID")
    location: str | None = option(None, "region of the endpoint, such as europe-west4")
    project_number: str | None = option(None, "number of the project")
    endpoint_id: str | None = option(None, "endpoint that the network is deployed to")
    api_endpoint: str | None = option(None, "host to ask, for a dedicated endpoint; default: the region's shared one")
    url: str | None = option(None, "plain TorchServe to ask instead of Vertex AI, such as http://localhost:7080")
    category: str = option("any", "any (all clothes), or one class: upper, lower, full")
    format: str = option("mask", "what to write for each photo", ("mask", "labels", "binary", "cutout", "overlay"))
    max_request_megabytes: float | None = option(
        None,
        "photos are shrunk to fit; default: 1.5, what shared Vertex endpoints take, or 25 with --url",
        at_least=0.01,
    )

    def resolve(self) -> "ClientOptions":
        super().resolve()
        self.max_request_megabytes = self.max_request_megabytes or (25 if self.url else 1.5)
        needed = [name for name in ("location", "endpoint_id") if not getattr(self, name)]
        if not (self.project_number or self.project):
            needed.append("project_number")
        if needed and not self.url:
            raise UserError(
                f"--{', --'.join(needed)} missing: gcloud ai endpoints list --region=LOCATION shows endpoints, "
                "gcloud projects describe PROJECT the number; or give --url for a plain TorchServe"
            )
        return self
