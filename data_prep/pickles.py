"""Pickled batches (CIFAR, ImageNet32) read as data: a pickle is a program, and only the few calls that build arrays are made.

`pickle.Unpickler` looks up each name by `find_class`, which here gives stand-ins of our own for the names in NAMES and refuses any
other. Before it runs, the opcodes are counted and held against those of dicts, lists, tuples, numbers, strings and arrays (protocols 2
to 5): no file may claim memory that it has not bytes for.
"""

import io
import pickle
import pickletools

import numpy as np

from common import errors

OPCODES = set(
    """PROTO FRAME STOP MARK POP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 BINFLOAT LONG1 SHORT_BINSTRING BINSTRING SHORT_BINBYTES BINBYTES
    BINBYTES8 BYTEARRAY8 READONLY_BUFFER SHORT_BINUNICODE BINUNICODE BINUNICODE8 EMPTY_LIST EMPTY_DICT EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    APPEND APPENDS SETITEM SETITEMS BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD""".split()
)
DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8", "b1")
MOST_STEPS = 1 << 22  # opcodes, and numbers of the memo; a batch has a few for each image. Each makes an object at most
MOST_TUPLES = 1000  # an array has a few; hashing one in a million others would overflow Python's own stack
# What each step may raise on damaged input.
DAMAGE = (pickle.UnpicklingError, EOFError, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError)


def load(data, where):
    """The object in the pickle `data` (bytes or a mapped file), mostly a dict of lists and ndarrays.

    Python 2's str comes as bytes (as with pickle's encoding="bytes"), the dict's keys as str. Fail, naming `where`, on
    anything else.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        _check(stream)
        stream.seek(0)
        return _plain(_Unpickler(stream, encoding="bytes").load())
    except _Refused as refusal:
        raise errors.Fail("%s: refused: the pickle %s, and no official file does that" % (where, refusal)) from None
    except DAMAGE:
        raise errors.Fail("%s: a damaged pickle; get the file again" % where) from None


class _Refused(Exception):
    pass


def _check(stream):
    tuples, made = 0, False
    for step, (opcode, argument, _) in enumerate(pickletools.genops(stream), 1):
        if opcode.name not in OPCODES:
            raise _Refused("has the opcode %s" % opcode.name)
        if step > MOST_STEPS or opcode.name == "LONG_BINPUT" and argument > MOST_STEPS:
            raise _Refused("has more than %s steps" % format(MOST_STEPS, ","))
        # One that is a call's arguments is gone at once: Python 3's protocol 2 has such a call for each file's name.
        if made and "PUT" not in opcode.name and opcode.name != "MEMOIZE":
            tuples += opcode.name != "REDUCE"
            made = False
        made = made or opcode.name.startswith("TUPLE")
        if tuples > MOST_TUPLES:
            raise _Refused("has more than %s tuples" % format(MOST_TUPLES, ","))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in NAMES:
            raise _Refused("names %r" % ("%s %s" % (module, name)))
        return NAMES[module, name]


class _Function:
    """What a pickle may name: it can be called, and has no state to set."""

    __slots__ = ("function",)

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        if any(type(argument) is tuple and any(type(part) is tuple for part in argument) for argument in arguments):
            raise _Refused("nests tuples in a call")  # kept in the memo, they would nest on, past MOST_TUPLES
        return self.function(*arguments)

    def __setstate__(self, _):
        raise _Refused("sets the state of something that is no array")


class _Array:
    """An array under construction: what NumPy's `_reconstruct` returns and BUILD fills."""

    value = None

    def __setstate__(self, state):
        _, shape, dtype, fortran, raw = state
        self.value = _array(raw, dtype, shape, "F" if fortran else "C")


class _Dtype:
    """A dtype under construction: its code, and the byte order once BUILD has given it."""

    def __init__(self, code):
        self.code, self.order = code, "|"

    def __setstate__(self, state):
        self.order = _text(state[1])


def _dtype(code, *_):
    code = _text(code).lstrip("<>=|")
    if code not in DTYPES:
        raise _Refused("has an array of type %r" % code)
    return _Dtype(code)


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


# What a pickled array names: Python 2's and 3's, NumPy 1's and 2's.
NAMES = {("numpy", "ndarray"): _Function(_Array), ("numpy", "dtype"): _Function(_dtype), ("_codecs", "encode"): _Function(_encode)}
for _core in ("numpy.core", "numpy._core"):
    NAMES.update(
        {
            (_core + ".multiarray", "_reconstruct"): _Function(lambda *_: _Array()),
            (_core + ".numeric", "_frombuffer"): _Function(_array),
            (_core + ".multiarray", "scalar"): _Function(lambda dtype, raw: _array(raw, dtype, ()).item()),
        }
    )


def _plain(value):
    """The object with arrays in place of what stood for them, also in the dict that a batch is."""
    if type(value) is dict:
        return {_text(key): item.value if type(item) is _Array else item for key, item in value.items()}
    return value.value if type(value) is _Array else value
