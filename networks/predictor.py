"""From photographs to segmentations: the only inference path."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from data.photos.open import PhotoError
from data.photos.preprocessing import prepare
from data.photos.take import Photo, take_photo
from data.results.segmentation import Segmentation
from networks.engines.choose import Engine, load_engine
from networks.engines.settings import EngineSettings
from networks.weights.info import INCLUDED_WEIGHTS, CheckpointInfo
from utils.errors import UserError
from utils.prefetch import prefetch

Item = TypeVar("Item")
Prepared = tuple[np.ndarray, tuple[int, int], Image.Image | None]  # network's input, (H, W) of the photo, the photo


class Predictor:
    """An engine with the preprocessing that its network was trained with.

    size: (height, width) the network sees. class_names: by label value. name: of engine, device and precision.
    """

    def __init__(self, engine: Engine, info: CheckpointInfo, flip: bool = False):
        """flip: predict the mirrored photo too and take the mean of both."""
        self.engine, self.flip = engine, flip
        self.size, self.class_names = (info.height, info.width), tuple(info.class_names)
        self.mean, self.std = info.mean, info.std
        self.name = engine.name
        self._origin: tuple | None = None  # arguments of load

    @classmethod
    def load(
        cls,
        path: str | Path = INCLUDED_WEIGHTS,
        device: str = "auto",
        precision: str = "auto",
        height: int | None = None,
        width: int | None = None,
        flip: bool = False,
        engine: str = "auto",
        threads: int | None = None,
        compiled: bool = False,
    ) -> "Predictor":
        """Predictor of a weight file; by default the included one.

        height, width: of what the network sees, in place of what the file says. The rest: see EngineSettings.
        Raises UserError.
        """
        if type(flip) is not bool:
            raise UserError(f"flip is {flip!r}; it must be True or False")
        try:
            path = Path(path).absolute() if Path(path).exists() else path
        except (OSError, ValueError, TypeError):  # not text, or text that no path can be
            raise UserError(
                f"path is {path!r}; it must be the path of a weight file, or the name of published weights"
            ) from None
        device = str(device)  # a torch.device is taken too
        settings = EngineSettings(engine, device, precision, threads, compiled)
        predictor = cls(*load_engine(path, settings, height, width), flip)
        predictor._origin = path, device, precision, height, width, flip, engine, threads, compiled
        return predictor

    def __reduce__(self):
        """Pickled and copied is how it was loaded: a copy loads the file again, where it is made."""
        if self._origin is None:
            raise UserError("only what Predictor.load gives can be pickled or copied")
        return Predictor.load, self._origin

    def __call__(self, photo: Photo, bgr: bool = False, upright: bool = True) -> Segmentation:
        """Segment one photo, in any form that take_photo takes. Raises PhotoError."""
        return self._segment([self._prepared(take_photo(photo, bgr, upright))])[0]

    def predict(self, photos: Iterable[Photo], bgr: bool = False, upright: bool = True) -> list[Segmentation]:
        """Segment photos of any sizes in one pass of the network; none give an empty list.

        photos, bgr, upright: each as in take_photo. Raises PhotoError, which says the number of the photo, from 0.
        """
        one = isinstance(photos, Image.Image | str | bytes | os.PathLike) or hasattr(photos, "read")
        if one or not isinstance(photos, Iterable) or (isinstance(photos, np.ndarray) and photos.ndim != 4):
            raise PhotoError("predict takes several photos, such as a list; call the predictor itself for one")
        batch = []
        for number, photo in enumerate(photos):
            try:
                batch.append(self._prepared(take_photo(photo, bgr, upright)))
            except PhotoError as error:
                raise type(error)(f"photo {number}: {error}") from None
        return self._segment(batch)

    def predict_stream(
        self,
        items: Iterable[Item],
        load: Callable[[Item], Image.Image],
        batch_size: int,
        pool: Executor,
        keep_photos: bool = True,
    ) -> Iterator[tuple[Item, Segmentation | PhotoError]]:
        """(item, its segmentation or why its photo cannot be used) in order, ``batch_size`` at a time.

        Photographs are loaded (``load`` gives RGB, or raises PhotoError) and prepared in the pool while the network
        works on those before. keep_photos: whether the segmentations carry their photographs.
        """

        def prepare_item(item: Item) -> Prepared:
            return self._prepared(load(item), keep_photos)

        with closing(prefetch(pool, prepare_item, items, 2 * batch_size)) as prepared:  # an error cancels what waits
            while batch := list(islice(prepared, batch_size)):
                yield from self._segment_batch(batch)

    def _segment_batch(self, batch: list[tuple[Item, Future[Prepared]]]):
        usable = [future.result() for _, future in batch if not isinstance(future.exception(), PhotoError)]
        results = iter(self._segment(usable))
        for item, future in batch:
            yield item, future.exception() or next(results)

    def prepare(self, photo: Image.Image) -> np.ndarray:
        """The network's input, 3 x h x w float32."""
        return prepare(photo, self.size, self.mean, self.std)

    def _prepared(self, photo: Image.Image, keep_photo: bool = True) -> Prepared:
        return self.prepare(photo), photo.size[::-1], photo if keep_photo else None

    def _segment(self, batch: list[Prepared]) -> list[Segmentation]:
        if not batch:
            return []
        images = np.stack([image for image, _, _ in batch])
        logits = self.engine(images)
        if self.flip:
            mirrored = self.engine(np.ascontiguousarray(images[..., ::-1]))
            logits = (logits + mirrored[..., ::-1]) / 2
        return [
            Segmentation(item, size, self.class_names, photo)
            for item, (_, size, photo) in zip(logits, batch, strict=True)
        ]
