"""Options of app.py."""

import socket
from dataclasses import dataclass

from options.base_options import PredictorOptions, option
from utils.errors import UserError


@dataclass
class AppOptions(PredictorOptions):
    """Serve a page that segments the photographs dropped on it."""

    host: str = option("127.0.0.1", "address to listen at: the default is for this machine alone, 0.0.0.0 for everyone")
    port: int = option(7860, "port to listen at", at_least=1, at_most=65535)
    max_photos: int = option(20, "photographs at once; the rest is left out", at_least=1)
    max_megabytes: int = option(20, "larger files are refused", at_least=1)
    max_megapixels: float = option(100.0, "larger photographs are refused", at_least=0.001)
    keep_minutes: int = option(10, "how long results can be downloaded", at_least=1)

    def resolve(self) -> "AppOptions":
        super().resolve()
        try:
            family, kind, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind(address)
        except (OSError, UnicodeError) as error:  # the latter of a name that no host can have
            place = f"{self.host}:{self.port}"
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot listen at {place}: {reason}; choose another --port or --host") from None
        return self
