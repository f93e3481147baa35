"""Pickled batches (CIFAR, ImageNet32) read as data: a pickle is a program, and this reader executes none of it.

Python's `pickle` calls whatever function the file names. Here the opcodes that pickle's protocols 2 to 5 use for dicts,
lists, tuples, numbers, strings and NumPy arrays build just those; a name outside NAMES, or any other opcode, is refused.
Large byte strings are views of the buffer, so that a batch in a mapped file costs no memory.
"""
import struct

import numpy as np

from common import errors

# What a pickled array names: Python 2's and 3's, NumPy 1's and 2's. The values are for us; nothing is looked up.
NAMES = {
    "numpy.core.multiarray _reconstruct": "array", "numpy._core.multiarray _reconstruct": "array",
    "numpy.core.numeric _frombuffer": "buffer", "numpy._core.numeric _frombuffer": "buffer",
    "numpy.core.multiarray scalar": "scalar", "numpy._core.multiarray scalar": "scalar",
    "numpy ndarray": "ndarray", "numpy dtype": "dtype", "_codecs encode": "encode",
}
DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8", "b1")
MARK = object()
MOST_STEPS = 1 << 22  # opcodes; a batch has a few for each image. Each makes an object at most, so memory is bounded too


class _Name(str):
    """A global that the pickle named, as the value that NAMES gives it."""


class _Array:
    """An array under construction: what NumPy's `_reconstruct` returns and BUILD fills."""

    value = None


class _Dtype:
    """A dtype under construction: its code, and the byte order once BUILD has given it."""

    def __init__(self, code):
        self.code, self.order = code, "|"


def load(data, where):
    """The object in the pickle `data` (bytes or memoryview), mostly a dict of lists and ndarrays.

    Python 2's str comes as bytes (as with pickle's encoding="bytes"), the dict's keys as str. Fail, naming `where`, on
    anything else.
    """
    try:
        return _Reader(memoryview(data)).run()
    except _Refused as refusal:
        raise errors.Fail("%s: refused: the pickle %s, and no official file does that" % (where, refusal)) from None
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, struct.error, UnicodeError):
        raise errors.Fail("%s: a damaged pickle; get the file again" % where) from None


class _Refused(Exception):
    pass


class _Reader:
    """A stack, a memo, and one method a group of opcodes."""

    def __init__(self, data):
        self.data, self.at = data, 0
        self.stack, self.memo = [], {}

    def run(self):
        for _ in range(MOST_STEPS):
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                return _plain(self.stack.pop())
            if code not in OPCODES:
                raise _Refused("has opcode 0x%02x" % code)
            OPCODES[code](self)
        raise _Refused("has more than %s steps" % format(MOST_STEPS, ","))

    def take(self, size):
        if size < 0 or self.at + size > len(self.data):
            raise ValueError("cut short")
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self):
        end = bytes(self.data[self.at:self.at + 200]).index(b"\n")
        return bytes(self.take(end + 1))[:-1].decode("ascii")

    def push(self, value):
        self.stack.append(value)

    def since_mark(self):
        """Pop everything down to the last mark."""
        values = []
        while self.stack[-1] is not MARK:
            values.append(self.stack.pop())
        self.stack.pop()
        return values[::-1]

    def remember(self, key):
        self.memo[key] = self.stack[-1]

    def string(self, form):
        return self.take(self.number(form))

    def bytes(self, form):
        view = self.string(form)
        self.push(bytes(view) if len(view) < 1 << 16 else view)

    def text(self, form):
        self.push(str(self.string(form), "utf-8", "surrogatepass"))

    def long(self):
        size = self.number("<B")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def tuple(self, size):
        values = tuple(self.stack[-size:]) if size else ()
        if len(values) < size or MARK in values:
            raise ValueError("too few")
        del self.stack[len(self.stack) - size:]
        self.push(values)

    def append(self, values):
        self._top(list).extend(values)

    def set_items(self, values):
        target = self._top(dict)
        for key, value in zip(values[::2], values[1::2]):
            if type(key) not in (str, bytes, int):  # hashing a deep tuple would overflow Python's own stack
                raise ValueError("no such key")
            target[key] = value

    def _top(self, kind):
        if type(self.stack[-1]) is not kind:
            raise ValueError("no %s there" % kind)
        return self.stack[-1]

    def name(self, module, name):
        full = "%s %s" % (module, name)
        if full not in NAMES:
            raise _Refused("names %r" % full)
        self.push(_Name(NAMES[full]))

    def name_from_stack(self):
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def reduce(self):
        """A call of one of NAMES; each is done here, by hand."""
        arguments, name = self.stack.pop(), self.stack.pop()
        if type(name) is not _Name or type(arguments) is not tuple:
            raise _Refused("calls something that is no function of an array's")
        self.push(MADE[name](*arguments))

    def build(self):
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is _Dtype:
            target.order = _text(state[1])
        elif type(target) is _Array:
            _, shape, dtype, fortran, raw = state
            target.value = _array(raw, dtype, shape, "F" if fortran else "C")
        else:
            raise _Refused("sets the state of something that is no array")


def _dtype(code, *_):
    code = _text(code)
    if code.lstrip("<>=|") not in DTYPES:
        raise _Refused("has an array of type %r" % code)
    return _Dtype(code.lstrip("<>=|"))


def _array(raw, dtype, shape, order="C"):
    if type(raw) is list:
        raise _Refused("has an array of objects")
    kind = np.dtype(("<" if dtype.order in "|=" else dtype.order) + dtype.code)
    return np.frombuffer(raw, kind).reshape(tuple(int(n) for n in shape), order=order)


def _encode(text, encoding):
    """How Python 3 writes bytes in protocol 2: text to be encoded as latin-1."""
    if encoding not in ("latin1", "latin-1"):
        raise _Refused("encodes as %r" % (encoding,))
    return text.encode("latin-1")


def _text(value):
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


MADE = {
    "array": lambda *_: _Array(),
    "buffer": _array,
    "scalar": lambda dtype, raw: _array(raw, dtype, ()).item(),
    "dtype": _dtype,
    "encode": _encode,
}
OPCODES = {
    0x80: lambda r: r.take(1),  # PROTO
    0x95: lambda r: r.take(8),  # FRAME
    ord("("): lambda r: r.push(MARK),
    ord("0"): lambda r: r.stack.pop(),
    ord("N"): lambda r: r.push(None),
    0x88: lambda r: r.push(True),
    0x89: lambda r: r.push(False),
    ord("K"): lambda r: r.push(r.number("<B")),
    ord("M"): lambda r: r.push(r.number("<H")),
    ord("J"): lambda r: r.push(r.number("<i")),
    ord("G"): lambda r: r.push(r.number(">d")),
    0x8A: _Reader.long,
    ord("U"): lambda r: r.bytes("<B"), ord("T"): lambda r: r.bytes("<I"),  # Python 2's strings
    ord("C"): lambda r: r.bytes("<B"), ord("B"): lambda r: r.bytes("<I"), 0x8E: lambda r: r.bytes("<Q"),
    0x96: lambda r: r.bytes("<Q"),  # BYTEARRAY8
    0x98: lambda r: None,  # READONLY_BUFFER
    0x8C: lambda r: r.text("<B"), ord("X"): lambda r: r.text("<I"), 0x8D: lambda r: r.text("<Q"),
    ord("]"): lambda r: r.push([]), ord("}"): lambda r: r.push({}), ord(")"): lambda r: r.push(()),
    ord("t"): lambda r: r.push(tuple(r.since_mark())),
    0x85: lambda r: r.tuple(1), 0x86: lambda r: r.tuple(2), 0x87: lambda r: r.tuple(3),
    ord("a"): lambda r: r.append([r.stack.pop()]), ord("e"): lambda r: r.append(r.since_mark()),
    ord("s"): lambda r: r.set_items([r.stack.pop(), r.stack.pop()][::-1]), ord("u"): lambda r: r.set_items(r.since_mark()),
    ord("q"): lambda r: r.remember(r.number("<B")), ord("r"): lambda r: r.remember(r.number("<I")),
    0x94: lambda r: r.remember(len(r.memo)),
    ord("h"): lambda r: r.push(r.memo[r.number("<B")]), ord("j"): lambda r: r.push(r.memo[r.number("<I")]),
    ord("c"): lambda r: r.name(r.line(), r.line()), 0x93: _Reader.name_from_stack,
    ord("R"): _Reader.reduce, ord("b"): _Reader.build,
}


def _plain(value):
    """The object with arrays in place of what stood for them, also in the dict that a batch is."""
    if type(value) is dict:
        return {_text(key): item.value if type(item) is _Array else item for key, item in value.items()}
    return value.value if type(value) is _Array else value
