"""Caffe's binary files: Datum, BlobProto (mean.binaryproto), NetParameter with weights (caffemodel), SolverState."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict

import numpy as np
from google.protobuf.message import DecodeError, Message

from common import errors, files
from common.caffe import messages as m
from common.caffe import upgrade


def read(path: str, kind: type[Message]) -> Message:
    """The message of class `kind` in the binary file at `path`, of whatever age. Fail where it is missing, cut short or of another kind."""
    try:
        with open(path, "rb") as f:
            data = f.read()
    except FileNotFoundError:
        raise errors.Fail("%s is not there" % path) from None
    if data.startswith(b"\x89HDF"):
        raise errors.Fail("%s is HDF5, not a binary %s: load it in Caffe and store it with net.save()" % (path, kind.DESCRIPTOR.name))
    message = _parse(data, kind)
    if message is None or not message.ListFields():
        raise errors.Fail("%s is damaged or no %s: make it again" % (path, kind.DESCRIPTOR.name))
    for layer in message.layer if kind is m.NetParameter else ():
        if isinstance(layer.name, bytes) or isinstance(layer.type, bytes):  # protobuf hands out what is no UTF-8 as it is
            raise errors.Fail("%s names a layer in bytes that are no UTF-8: it is damaged, make it again" % path)
    if kind is m.NetParameter:
        try:
            upgrade.upgrade(message, path)
        except ValueError:  # as above, of an older format
            raise errors.Fail("%s holds a word in bytes that are no UTF-8: it is damaged, make it again" % path) from None
    return message


def write(path: str, message: Message) -> None:
    """Write `message` to `path` in binary, whole or not at all."""
    with files.replacing(path) as temporary, open(temporary, "wb") as f:
        f.write(message.SerializeToString())


def blob_to_array(blob: Message) -> np.ndarray:
    """A BlobProto's data as float32 ndarray, in its shape (or the legacy num x channels x height x width)."""
    if blob.HasField("shape"):
        shape = tuple(blob.shape.dim)
    elif not any(blob.HasField(side) for side in ("num", "channels", "height", "width")):
        shape = ()  # Caffe's blob of no axes: one number
    else:
        shape = (blob.num, blob.channels, blob.height, blob.width)
    values = np.array(blob.double_data if blob.double_data else blob.data, dtype=np.float32)
    try:
        if min(shape, default=0) < 0 or values.size != math.prod(shape):
            raise ValueError
        return values.reshape(shape)
    except ValueError:  # NumPy's too: no number at all, for sides beyond its own limit
        raise errors.Fail("a blob holds %d numbers for shape %s: the file is damaged" % (values.size, shape)) from None


def array_to_blob(array: np.ndarray) -> Message:
    """An ndarray as BlobProto (float32, modern shape)."""
    array = np.asarray(array, np.float32)
    blob = m.BlobProto(data=array.ravel())
    blob.shape.dim.extend(array.shape)
    return blob


def datum(image: np.ndarray, label: int) -> bytes:
    """A Datum's bytes: `image` uint8 C x H x W (BGR), `label` int."""
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError("a Datum takes uint8 C x H x W, not %s %s" % (image.dtype, image.shape))
    channels, height, width = image.shape
    message = m.Datum(channels=channels, height=height, width=width, data=image.tobytes(), label=int(label))
    return message.SerializeToString()


def read_datum(data: bytes) -> tuple[np.ndarray, int]:
    """(image uint8 C x H x W, label int) from a Datum's bytes. Fail on anything else."""
    message = _parse(data, m.Datum)
    if message is None or not message.data:
        raise errors.Fail("an LMDB entry is no Datum: build the LMDB again with `make data`")
    shape = (message.channels, message.height, message.width)
    if message.encoded or len(message.data) != shape[0] * shape[1] * shape[2]:
        raise errors.Fail("a Datum holds %d bytes for %s, uncompressed: build the LMDB again with `make data`" % (len(message.data), shape))
    return np.frombuffer(message.data, np.uint8).reshape(shape), message.label


def read_mean(path: str) -> np.ndarray:
    """mean.binaryproto as float32 C x H x W."""
    blob = read(path, m.BlobProto)
    try:
        mean = blob_to_array(blob)
    except errors.Fail as failure:
        raise errors.Fail("%s: %s" % (path, failure)) from None
    if mean.ndim < 3 or mean.size != math.prod(mean.shape[-3:]):
        raise errors.Fail("%s is no mean of one image (its shape is %s): build the set again with `make data`" % (path, mean.shape))
    return mean.reshape(mean.shape[-3:])


def write_mean(path: str, mean: np.ndarray) -> None:
    """Write float32 C x H x W as Caffe's mean file: the legacy 1 x C x H x W, which every Caffe reads."""
    channels, height, width = mean.shape
    write(path, m.BlobProto(num=1, channels=channels, height=height, width=width, data=mean.astype(np.float32).ravel()))


def _parse(data, kind):
    """The message, or None. Old protobufs only warn of a stray end-group tag, new ones raise."""
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always", RuntimeWarning)
        try:
            message = kind.FromString(data)
        except DecodeError:
            return None
    return None if complaints else message


def layers(net: Message) -> dict[str, list[np.ndarray]]:
    """Layer name -> list of its blobs (float32 ndarrays), for the layers of a NetParameter that have any."""
    return OrderedDict((layer.name, [blob_to_array(b) for b in layer.blobs]) for layer in net.layer if layer.blobs)
