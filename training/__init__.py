"""Training: runs a solver to its end, transplants weights, resumes, watches and records.

    run          one training run, from a committed solver to final.caffemodel
    job          the solver and net of one run: seed, length, order of the data, paths
    inputs       what a run is made from, checked before Caffe reads it, and hashed
    transplant   weights of another network, all but the final layer
    bundle       what runs need, for a machine without data, and what they gave, back from it
    loop         iterations, log, validation, snapshots, signals: the same for every engine

What computes is an engine: an engines.Trainer.

BLAS reads its number of threads when it is loaded, so THREADS is passed on here, before anything imports NumPy or Caffe.
One BLAS thread is the default: Caffe spends less than half of its time in BLAS, on small matrices, and a second thread made no
run faster (benchmarks.training). Cores are used by runs side by side.
"""

import os

from common import parallel

if os.environ.get("THREADS"):
    os.environ.update(parallel.blas_threads(parallel.count()))
else:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe's own log repeats the net and every iteration
