"""Training: runs a solver to its end, transplants weights, resumes, watches and records.

    run          one training run, from a committed solver to final.caffemodel
    job          the solver and net of one run: seed, length, order of the data, paths
    inputs       what a run is made from, checked before Caffe reads it, and hashed
    transplant   weights of another network, all but the final layer
    loop         iterations, log, validation, snapshots, signals: the same for every engine
    caffe_engine the one place here that imports caffe

An engine is a module with `make(solver, net, folder)` (SolverParameter, NetParameter, a scratch folder), which gives an
object with
    iter                    iterations done
    chunk                   iterations that the loop may ask for in one step
    step(n) -> float        train n iterations; their mean loss
    validate(stopped)       the TEST net over test_iter batches -> (accuracy, loss); None as soon as stopped() is true
    snapshot(prefix)        write PREFIX.caffemodel and PREFIX.solverstate (whose learned_net the caller sets)
    restore(solverstate, validations)   continue exactly behind such a snapshot, taken after so many validations:
                            weights, history, position and crops of the data
    save(path)              write the weights as caffemodel
    weights()               layer name -> [float32 arrays], copies, of the layers that have any
    load_weights(weights)   set those of the layers named
    versions()              dict for the record: what computes, with how many threads

BLAS reads its number of threads when it is loaded, so THREADS is passed on here, before anything imports NumPy or Caffe.
One BLAS thread is the default: Caffe spends less than half of its time in BLAS, on small matrices, and a second thread made no
run faster (benchmarks.training). Cores are used by runs side by side.
"""
import os

from common import parallel

BLAS_PREFIXES = ("OPENBLAS_", "OMP_", "MKL_", "BLIS_")

if os.environ.get("THREADS"):
    os.environ.update(parallel.blas_threads(parallel.count()))
else:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe's own log repeats the net and every iteration


def blas_settings():
    """{variable: value} that decides threads and kernels of BLAS. With others the last bits of a sum differ, and soon the losses."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(BLAS_PREFIXES)}
