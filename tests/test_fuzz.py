"""The fuzz targets (tests/fuzz.py) on their seeds, the corpus and some mutations; and pickles that are made to pass scanners."""

import random

import fuzz
import pytest
from test_data_safety import mutated

from common import errors
from data_prep import pickles

MUTATIONS = 25  # of each target; `make fuzz SECONDS=600` is for more


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_sound_files_are_read_and_others_refused_in_one_line(target):
    said = [fuzz.one(target, seed) for seed in fuzz.SEEDS[target]]
    assert None in said or target == "caffemodel"  # a net of one layer
    for path in fuzz.kept(target):
        with open(path, "rb") as f:
            assert fuzz.one(target, f.read()), path
    rng = random.Random(target)
    outcomes = [fuzz.one(target, mutated(rng, rng.choice(fuzz.SEEDS[target]))) for _ in range(MUTATIONS)]
    assert any(outcomes)


def test_the_corpus_is_of_targets():
    assert sum(len(fuzz.kept(target)) for target in fuzz.TARGETS) == len(fuzz.os.listdir(fuzz.CORPUS))


def text(word):
    return b"\x8c" + bytes([len(word)]) + word.encode()


def call(module, name, argument="touch ran"):
    """A call by protocol 4's names, as protocols from 4 on write it."""
    return text(module) + text(name) + b"\x93" + text(argument) + b"\x85R"


GLOBAL = b"cos\nsystem\n(S'touch ran'\ntR"
BYPASSES = {
    # functions that no list of dangerous ones had at some time
    **{
        "%s.%s" % pair: b"\x80\x04" + call(*pair) + b"."
        for pair in (
            ("bdb", "Bdb.run"),
            ("timeit", "timeit"),
            ("pip", "main"),
            ("pty", "spawn"),
            ("cProfile", "run"),
            ("pydoc", "pipepager"),
            ("runpy", "run_path"),
            ("code", "InteractiveInterpreter.runcode"),
            ("ensurepip", "_run_pip"),
            ("webbrowser", "open"),
            ("operator", "attrgetter"),
            ("functools", "partial"),
            ("importlib", "import_module"),
            ("numpy.testing._private.utils", "runstring"),
            ("torch.serialization", "load"),
            ("_pickle", "loads"),
            ("asyncio.unix_events", "_UnixSubprocessTransport._start"),
            ("types", "CodeType"),
            ("ctypes", "CDLL"),
            ("shutil", "rmtree"),
        )
    },
    "a name inside an allowed one": b"\x80\x04" + call("numpy", "ndarray.tofile") + b".",
    "an allowed name by a way round": b"\x80\x04" + call("numpy", "core.multiarray.os.system") + b".",
    "a name with blanks": b"c os \nsystem \n(S'touch ran'\ntR.",
    "a name in letters that look alike": b"\x80\x04" + call("nump\u0443", "ndarray") + b".",
    "names from the memo": b"\x80\x04" + text("os") + b"\x94" + text("system") + b"\x940h\x00h\x01\x93" + text("touch ran") + b"\x85R.",
    "names from the memo, put there twice": b"\x80\x04"
    + text("numpy")
    + b"q\x05"
    + text("os")
    + b"q\x05"
    + text("system")
    + b"\x93"
    + text("touch ran")
    + b"\x85R.",
    "INST": b"(S'touch ran'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch ran'\no.",
    "NEWOBJ_EX": b"\x80\x04" + text("os") + text("system") + b"\x93" + text("touch ran") + b"\x85}\x92.",
    "BUILD of a foreign object": b"\x80\x04" + text("types") + text("SimpleNamespace") + b"\x93)\x81}" + text("x") + b"Ksb.",
    "broken after the call": b"\x80\x02" + GLOBAL + b"X",
    "no end after the call": b"\x80\x02" + GLOBAL,
    "an unknown opcode after the call": b"\x80\x02" + GLOBAL + b"\xff.",
    "a call thrown away": b"\x80\x02" + GLOBAL + b"0}.",
    "a call under a mark": b"\x80\x02(" + GLOBAL + b"1}.",
    "a frame that claims too much": b"\x80\x04\x95" + b"\xff" * 8 + call("os", "system") + b".",
    "a protocol that is none": b"\x80\xff" + GLOBAL + b".",
    "the protocol again in the middle": b"\x80\x02}\x80\x040" + GLOBAL + b".",
    "a persistent id": b"\x80\x02S'touch ran'\nQ.",
    "out-of-band buffers": b"\x80\x05\x97\x98.",
}


@pytest.mark.parametrize("kind", BYPASSES)
def test_what_passes_scanners_is_refused_and_runs_nothing(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.Fail, match="refused|damaged"):
        pickles.load(BYPASSES[kind], "x")
    assert not list(tmp_path.iterdir())


def test_what_follows_a_pickle_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pickles.load(b"\x80\x02}.\x80\x02" + GLOBAL + b".", "x") == {}
    assert not list(tmp_path.iterdir())
