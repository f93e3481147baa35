"""How many processes and threads to use, and work spread over them.

THREADS says how many where it is set, else what this process may run on. Results come in the order of the tasks, few
tasks are in flight, workers die with their parent.
"""

from __future__ import annotations

import concurrent.futures
import faulthandler
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool

from common import errors

# Read by BLAS when it is loaded: set them before anything imports NumPy or Caffe, or for a process that is started.
BLAS_PREFIXES = ("OPENBLAS_", "OMP_", "MKL_", "BLIS_")
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def usable() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def count(shared_by: int = 1) -> int:
    """THREADS where it is set, else the cores of this process, shared out among so many; at least 1."""
    given = os.environ.get("THREADS", "")
    return max(1, int(given) if given.isdigit() else usable() // shared_by)


def blas_threads(number: int) -> dict[str, str]:
    """{variable: value} that gives BLAS so many threads, for an environment."""
    return dict.fromkeys(BLAS_THREADS, str(number))


def work(function: Callable, tasks: Iterable[tuple], workers: int) -> Iterator:
    """Yield function(*task) for each of `tasks` (an iterable of tuples), in order.

    With `workers` 1 everything happens here. Else at most 2 x workers + 1 tasks are in flight, so that a long stream of
    tasks costs no more memory than a short one. `function` and its arguments must pickle.
    """
    if workers == 1:
        yield from itertools.starmap(function, tasks)
        return
    pool = concurrent.futures.ProcessPoolExecutor(workers, initializer=prepare_worker)
    try:
        yield from _streamed((pool.submit(function, *task) for task in tasks), 2 * workers + 1)
    except BrokenProcessPool:
        raise errors.Fail("a worker process was killed (out of memory?): try again with THREADS=1") from None
    finally:
        pool.shutdown()  # the few tasks in flight run on: Python 3.8 hangs where some are cancelled


def apart(crash: str, function: Callable, *arguments: object) -> object:
    """function(*arguments) in a process of its own; where that one crashes, Fail with the line `crash`."""
    with concurrent.futures.ProcessPoolExecutor(1, initializer=prepare_worker) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise errors.Fail(crash) from None


def deal(pool: concurrent.futures.Executor, test: Callable, batches: Iterable, ahead: int) -> Iterator[tuple]:
    """Yield (batch, test(its images)) in order, computed in `pool`, while at most `ahead` batches wait."""
    dealt = deque()

    def submitted():
        for batch in batches:
            dealt.append(batch)
            yield pool.submit(test, batch.images)

    try:
        for result in _streamed(submitted(), ahead):
            yield dealt.popleft(), result
    except BrokenProcessPool:
        raise errors.Fail("a testing process died (of too little memory, or Caffe refused the net: see above): try it with THREADS=1") from None


def _streamed(futures, most):
    """Yield the results of `futures` in order. Each is submitted as it is asked for, and at most `most` are in flight."""
    waiting = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) == most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def ahead(function: Callable, items: Iterable) -> Iterator:
    """Yield function(item) for each of `items`, in order; the next one is made in a thread meanwhile."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        waiting = None
        for item in items:
            following = thread.submit(function, item)
            if waiting:
                yield waiting.result()
            waiting = following
        if waiting:
            yield waiting.result()


def prepare_worker() -> None:
    """Ctrl-C is the parent's to handle, and a crash the parent's to tell; a parent that was killed takes its workers with it."""
    faulthandler.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def blas_settings() -> dict[str, str]:
    """{variable: value} that decides threads and kernels of BLAS. With others the last bits of a sum differ, and soon the losses."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(BLAS_PREFIXES)}
