"""How many processes and threads to use: THREADS where it is set, else what this process may run on."""
import os

# Read by BLAS when it is loaded: set them before anything imports NumPy or Caffe, or for a process that is started.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def usable():
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def count(shared_by=1):
    """THREADS where it is set, else the cores of this process, shared out among so many; at least 1."""
    return int(os.environ.get("THREADS") or max(1, usable() // shared_by))


def blas_threads(number):
    """{variable: value} that gives BLAS so many threads, for an environment."""
    return dict.fromkeys(BLAS_THREADS, str(number))
