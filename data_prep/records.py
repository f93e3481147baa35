"""MXNet's RecordIO, as far as InsightFace packs faces in it: a stream of records, each a header and a JPEG.

A record: uint32 magic, uint32 (flag << 29 | length), payload padded to four bytes; flag 0 is a whole record, 1, 2 and 3 are
the first, middle and last piece of one whose payload contains the magic (which stood between the pieces).
"""

import struct
from collections import namedtuple

from common import errors

MAGIC = struct.pack("<I", 0xCED7230A)
LARGEST = 1 << 24  # bytes of a record; a face has about 10,000
WHOLE, FIRST, MIDDLE, LAST = range(4)
HEADER = struct.Struct("<IfQQ")  # number of labels that follow (or 0), the label (when 0), two ids

Record = namedtuple("Record", "offset labels data where")  # labels: tuple of float; data: bytes, the JPEG or nothing


def read(stream, where):
    """Yield the Records of a binary stream, front to back. Fail where it is damaged, naming the record."""
    offset, number = 0, 0
    while True:
        place = "%s, record %d" % (where, number)
        payload, size = _payload(stream, place)
        if payload is None:
            return
        yield _record(payload, offset, place)
        offset += size
        number += 1


def _payload(stream, where):
    """(the next record's payload, bytes that it took); (None, 0) at the end."""
    pieces, taken = [], 0
    while True:
        head = stream.read(8)
        if not head and not pieces:
            return None, 0
        if len(head) < 8 or head[:4] != MAGIC:
            raise errors.Fail("%s: damaged or no RecordIO file; get it again" % where)
        flag, length = divmod(struct.unpack("<I", head[4:])[0], 1 << 29)
        padded = length + -length % 4
        if flag > LAST or (flag in (WHOLE, FIRST)) == bool(pieces) or taken + padded > LARGEST:
            raise errors.Fail("%s: damaged; get the file again" % where)
        data = stream.read(padded)
        if len(data) < padded:
            raise errors.Fail("%s: cut short; get the file again" % where)
        pieces.append(data[:length])
        taken += 8 + padded
        if flag in (WHOLE, LAST):
            return MAGIC.join(pieces), taken


def _record(payload, offset, where):
    if len(payload) < HEADER.size:
        raise errors.Fail("%s: too short for its header" % where)
    count, label, _, _ = HEADER.unpack_from(payload)
    end = HEADER.size + 4 * count
    if end > len(payload):
        raise errors.Fail("%s: claims %d labels" % (where, count))
    labels = struct.unpack_from("<%df" % count, payload, HEADER.size) if count else (label,)
    return Record(offset, labels, payload[end:], where)
