"""make doctor: which Caffe is this, does it compute right, and how fast is its BLAS?

The look at Caffe (--here) is a process of its own: where Caffe aborts, only that process dies and its last words
become one line; and the caller's random numbers stay as they were. This side of it needs nothing but Python.
"""

import argparse
import ctypes
import functools
import os
import re
import shutil
import subprocess
import sys
import time

from common import errors

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ADVICE = "run it through env/run, or take another Caffe: CAFFE_ENV=rootfs"


@functools.lru_cache(maxsize=None)
def check(report=False):
    """Return if this Python's Caffe computes right, else raise errors.Fail with the one line that says what is wrong.

    Takes under two seconds, once per process. With `report`, the look prints what it sees to stdout.
    """
    command = [sys.executable, "-m", "engines.doctor", "--here"] + ["--report"] * report
    quiet = dict(os.environ, GLOG_minloglevel="2")
    look = subprocess.run(command, cwd=ROOT, env=quiet, stderr=subprocess.PIPE, universal_newlines=True)
    lines = [line for line in look.stderr.splitlines() if line.strip()]
    if look.returncode == 1 and lines and lines[-1].startswith("error: "):
        raise errors.Fail(lines[-1][len("error: ") :])
    if look.returncode:
        fatal = [line for line in lines if re.match(r"F\d{4} ", line)] or lines[-1:] or ["without a word"]
        raise errors.Fail("this Caffe breaks down in the self-check (%s): %s" % (fatal[0], ADVICE))
    if report:
        print("%-11s %s" % ("import", "quiet" if not lines else "noisy: " + lines[0]))


def look(report):
    """In the process of its own: import Caffe, run the self-check; with `report`, print all that there is to tell."""
    caffe = imported()
    from engines import selfcheck  # needs NumPy and lmdb, as imported() has made sure

    def tell(name, text):
        if report:
            print("%-11s %s" % (name, text), flush=True)

    for name, text in versions(caffe):
        tell(name, text)
    try:
        selfcheck.run(caffe, lambda name: tell("right", name))
    except errors.Fail as wrong:
        raise errors.Fail("this Caffe is refused: %s; it is %s: %s" % (wrong, where(caffe), ADVICE)) from None
    if report:
        tell("BLAS", "%s; sgemm in Caffe: %.0f GFLOP/s" % (blas(), speed(caffe, selfcheck)))


def imported():
    """The module caffe; Fail where it, or what every stage needs beside it, cannot be imported."""
    try:
        for name in ("numpy", "cv2", "lmdb", "google.protobuf"):
            __import__(name)
        import caffe
    except Exception as problem:  # an old pycaffe fails in many ways: protobuf's TypeError, NumPy's AttributeError
        raise errors.Fail("%s has no Caffe and what goes with it (%s): %s" % (sys.executable, str(problem).split("\n")[0], ADVICE)) from None
    if not hasattr(caffe, "Net"):
        raise errors.Fail("%s is no Caffe (PyPI's package of that name is an empty placeholder): %s" % (where(caffe), ADVICE))
    return caffe


def where(caffe):
    library = sys.modules.get("caffe._caffe", caffe)
    return getattr(library, "__file__", None) or " ".join(getattr(caffe, "__path__", ["unknown"]))


def versions(caffe):
    """(name, text) for each line of the report's head."""
    import cv2
    import google.protobuf
    import lmdb
    import numpy

    yield "Caffe", "%s, %s" % (getattr(caffe, "__version__", "of unknown version"), where(caffe))
    yield "caffe tool", shutil.which("caffe") or "none: the stock `caffe train` is not on PATH"
    yield "provider", "%s, %s" % (os.environ.get("FER_LITE_ENV", "none (not run through env/run)"), os.environ.get("FER_LITE_PLACE", sys.executable))
    yield "Python", sys.version.split()[0]
    yield "NumPy", numpy.__version__
    yield "OpenCV", cv2.__version__
    yield "protobuf", google.protobuf.__version__
    yield "lmdb", "%s (LMDB %s)" % (lmdb.__version__, ".".join(str(n) for n in lmdb.version()))


def blas():
    """Name, threads and file of the BLAS that Caffe loaded, by this process's memory map (NumPy's own left out)."""
    with open("/proc/self/maps") as f:
        paths = {line.split(None, 5)[5].strip() for line in f if line.count("/")}
    paths = sorted(path for path in paths if not re.search("numpy|scipy", path))
    for kind in ("openblas", "mkl_rt", "mkl_core", "blis", "atlas", "blas"):
        for path in paths:
            if os.path.basename(path).startswith("lib" + kind):
                return describe_blas(kind, path)
    return "unknown, built into Caffe"


def describe_blas(kind, path):
    if kind == "openblas":
        library = ctypes.CDLL(path)
        library.openblas_get_config.restype = library.openblas_get_corename.restype = ctypes.c_char_p
        name = " ".join(library.openblas_get_config().decode().split()[:2])
        core, threads = library.openblas_get_corename().decode(), library.openblas_get_num_threads()
        return "%s for %s, threads: %d, %s" % (name, core, threads, path)
    if kind == "blas":
        return "the reference BLAS, seven times too slow (install libopenblas0-pthread), %s" % path
    return "%s, %s" % (kind, path)


def speed(caffe, selfcheck, size=1024):
    """GFLOP/s of one size x size x size sgemm, as Caffe's InnerProduct calls it: the best of three."""
    seconds = []
    layer = 'type: "InnerProduct" inner_product_param { num_output: %d bias_term: false }' % size
    with selfcheck.net(caffe, (size, size), layer) as net:
        net.params["y"][0].data[...] = net.blobs["x"].data[...] = selfcheck.noise(size, size)
        for _ in range(4):  # the first one warms up
            start = time.time()
            net.forward()
            seconds.append(time.time() - start)
    return 2e-9 * size**3 / min(seconds[1:])


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m engines.doctor", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="only the self-check, silent if this Caffe computes right")
    parser.add_argument("--here", action="store_true", help="in this process, where Caffe may abort")
    parser.add_argument("--report", action="store_true", help="with --here: print what is seen")
    args = parser.parse_args()
    if args.here:
        return look(args.report)
    check(report=not args.check)
    if not args.check:
        print("This Caffe computes right.")


if __name__ == "__main__":
    main()
