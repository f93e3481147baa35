"""The Data layer: Datums of an LMDB in the order of their keys, again and again, cropped, mean subtracted, mirrored.

`Data` maps the LMDB and does not load it: memory stays the same for any size. `Resident` holds it on the device as uint8,
and crops a whole batch there. The crops of batch number N follow from the seed and N alone, so that a run continues
exactly by setting `batches`, and both give the same batches, byte for byte.
"""

import itertools

import numpy as np
import torch

from common import errors
from common.caffe import binary, lmdbs
from common.caffe import messages as m
from engines.torch import device as devices
from engines.torch import layers

KNOWN = {"data_param": {"source", "batch_size", "backend", "prefetch"}, "transform_param": {"scale", "mirror", "crop_size", "mean_file", "mean_value"}}


class Data:
    """The batches of one Data layer: `next()` -> {top: tensor}, data N x C x H x W in `dtype`, label N int64."""

    def __init__(self, layer, phase, seed, device=torch.device("cpu"), dtype=torch.float32):
        layers.check_fields(layer, KNOWN)
        layers.demand(layer, layer.data_param.backend == m.DataParameter.LMDB and len(layer.top) == 2, "backend: LMDB, two tops")
        self.layer, self.phase, self.seed, self.device, self.dtype = layer, phase, seed, device, dtype
        self.transform, self.batch = layer.transform_param, layer.data_param.batch_size
        self.environment = lmdbs.opened(layer.data_param.source, readahead=False)
        with self.environment.begin() as transaction:
            self.count = transaction.stat()["entries"]
            self.image = binary.read_datum(next(iter(transaction.cursor()))[1])[0].shape
        self.mean, self.plain = self._mean()
        self.seek(0)

    def shapes(self):
        """Top -> shape, as engines.torch.net.Net takes it."""
        height, width = (self.transform.crop_size or side for side in self.image[1:])
        return {self.layer.top[0]: (self.batch, self.image[0], height, width), self.layer.top[1]: (self.batch,)}

    def seek(self, batches):
        """Continue behind so many batches."""
        self.batches, self.entries = batches, self._entries(batches * self.batch % self.count)

    def _entries(self, start):
        """Datums, as bytes, from entry `start` on, without end."""
        with self.environment.begin(buffers=True) as transaction:  # buffers: what is passed over is not read
            while True:
                yield from map(bytes, itertools.islice(transaction.cursor().iternext(keys=False), start, None))
                start = 0

    def next(self):
        """The next batch, on the device."""
        return self.make(self.draw())

    def draw(self):
        """What chance says of the next batch, drawn on the host: places and mirrors, for `make`."""
        drawn, self.batches = self._places(), self.batches + 1
        return drawn

    def make(self, drawn):
        """The batch of the entries that come now, as `drawn`."""
        shape = self.shapes()[self.layer.top[0]]
        images, labels = np.empty(shape, np.uint8), np.empty(self.batch, np.int64)
        rows, columns, mirrored = drawn
        means = None if self.plain else np.empty(shape, np.float32)
        for i, value in enumerate(itertools.islice(self.entries, self.batch)):
            image, labels[i] = binary.read_datum(value)
            place = np.s_[:, rows[i] : rows[i] + shape[2], columns[i] : columns[i] + shape[3]]
            flip = np.s_[..., :: -1 if mirrored[i] else 1]
            images[i] = image[place][flip]
            if means is not None:
                means[i] = self.mean[place][flip]
        data = devices.to_device(images, self.device).to(torch.float32, memory_format=torch.channels_last)
        mean = devices.to_device(self.mean[:, :1, :1] if means is None else means, self.device)
        return self._tops(data, mean, devices.to_device(labels, self.device))

    def _tops(self, data, mean, labels):
        data.sub_(mean)
        if self.transform.scale != 1:
            data.mul_(self.transform.scale)
        return {self.layer.top[0]: data.to(self.dtype), self.layer.top[1]: labels}

    def _places(self):
        """Rows, columns, mirrored or not, of a batch's crops: random in TRAIN, the centre in TEST; mirrors random in both."""
        draw = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, self.batches]))
        room = [side - (self.transform.crop_size or side) for side in self.image[1:]]
        if self.phase == m.TRAIN:
            rows, columns = (draw.integers(0, r + 1, self.batch) for r in room)
        else:
            rows, columns = (np.full(self.batch, r // 2) for r in room)
        return rows, columns, draw.integers(0, 2, self.batch) if self.transform.mirror else np.zeros(self.batch, int)

    def _mean(self):
        """(mean C x H x W, whether each channel is one number)."""
        mean = np.zeros(self.image, np.float32)
        if self.transform.mean_file:
            mean += binary.read_mean(self.transform.mean_file)
        elif self.transform.mean_value:
            mean += np.array(self.transform.mean_value, np.float32).reshape(-1, 1, 1)
        return mean, bool((mean == mean[:, :1, :1]).all())


class Batches:
    """The batches of T trials, each of its own Data: data N x TC x H x W, TN labels, the trials' one behind the other."""

    def __init__(self, feeds):
        self.feeds, self.shapes, self.dtype = feeds, feeds[0].shapes, feeds[0].dtype

    def next(self):
        return self.make(self.draw())

    def draw(self):
        return [feed.draw() for feed in self.feeds]

    def make(self, drawn):
        first, *rest = (feed.make(each) for feed, each in zip(self.feeds, drawn))
        return {top: torch.cat([tensor] + [tops[top] for tops in rest], min(1, tensor.dim() - 1)) for top, tensor in first.items()} if rest else first


class Resident(Data):
    """The same with every image on the device, read once: `make` has no loop and asks the host nothing, as a CUDA graph wants it."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        images, labels = np.empty((self.count, *self.image[1:], self.image[0]), np.uint8), np.empty(self.count, np.int64)
        for i, value in enumerate(itertools.islice(self._entries(0), self.count)):
            image, labels[i] = binary.read_datum(value)
            images[i] = image.transpose(1, 2, 0)
        try:
            self.images, self.labels, self.means = (
                torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in (images, labels, self.mean.transpose(1, 2, 0))
            )
        except torch.OutOfMemoryError:
            raise errors.Fail(
                "%s (%.1f GB) does not fit on %s: stop what else runs there, or take DEVICE=cpu"
                % (self.layer.data_param.source, images.nbytes / 1e9, self.device)
            ) from None
        height, width = self.shapes()[self.layer.top[0]][2:]
        self.down, self.right = torch.arange(height, device=self.device), torch.arange(width, device=self.device)

    def seek(self, batches):
        self.batches = batches

    def draw(self):
        """int64 4 x batch, on the host: which images, first rows, first columns, mirrored."""
        entries = (self.batches * self.batch + np.arange(self.batch)) % self.count
        return devices.pinned(np.stack([entries, *super().draw()]), self.device)

    def make(self, drawn):
        entries, rows, columns, mirrored = drawn.to(self.device, non_blocking=True)[..., None]
        y = (rows + self.down)[:, :, None]
        x = (columns + torch.where(mirrored > 0, self.right.flip(0), self.right))[:, None]
        data = self.images[entries[..., None], y, x].permute(0, 3, 1, 2).to(torch.float32)  # channels last, as they lie
        return self._tops(data, self.means[y, x].permute(0, 3, 1, 2), self.labels[entries[:, 0]])
