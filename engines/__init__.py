"""What computes: Caffe, and PyTorch with the same prototxt, solver, LMDB and caffemodel files.

A trainer is made by a module's `make(solver, net, folder, **options)` (SolverParameter, NetParameter, a scratch folder):
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

A scorer is what a module's context manager `tester(net, model, mean, folded, workers, gpu, **options)` yields: a function that takes
batches with `images` (uint8 N x C x H x W) and yields (batch, (ten-crop mean, centre crop)), float32 N x classes each, in order.
"""

import importlib

TORCH = {"torch": "fp32", "torch-tf32": "tf32", "torch-bf16": "bf16"}  # name -> precision
NAMES = ("caffe",) + tuple(TORCH)


def trainers(name, runs, folder, recipe=None, teachers=()):
    """A trainer for each (SolverParameter, NetParameter) of `runs`: several go in step, side by side, which PyTorch alone does."""
    if len(runs) > 1:
        return importlib.import_module("engines.torch.trials").make(runs, TORCH[name])
    return [trainer(name, *runs[0], folder, recipe, teachers)]


def trainer(name, solver, net, folder, recipe=None, teachers=()):
    """The trainer called `name`. Fail on what it cannot run.

    `recipe`: a paper.recipe.Recipe, which PyTorch alone trains; `teachers`: paths of scores of what it learns from beside the votes.
    """
    if name == "caffe":
        return importlib.import_module("engines.caffe.engine").make(solver, net, folder)
    if recipe:
        return importlib.import_module("engines.torch.recipe").make(solver, net, folder, recipe, TORCH[name], teachers)
    return importlib.import_module("engines.torch.engine").make(solver, net, folder, TORCH[name])


def scorer(name, net, model, mean, folded=True, workers=None, gpu=None):
    """The context manager that yields the scorer called `name`."""
    if name == "caffe":
        return importlib.import_module("engines.caffe.network").tester(net, model, mean, folded, workers, gpu)
    return importlib.import_module("engines.torch.network").tester(net, model, mean, folded, workers, gpu, TORCH[name])
