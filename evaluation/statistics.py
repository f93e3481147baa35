"""What a network says with BatchNorm's running statistics computed anew: `python3 -m evaluation.statistics RUN`.

Caffe's statistics are a running average over some 1,000 iterations; where the weights move fast, or the rate dropped late, they are of
weights long gone. Here they are the plain average over one pass of the training part, cropped and mirrored as in training, with the
final weights. The PyTorch engine computes, in fp32. Writes RUN/statistics.json: accuracy on the TEST part, "stored" and "anew" (0 to 1).
"""

import argparse
import json
import os

from common import errors, files, runs
from common.caffe import messages as m
from common.caffe import text
from netgen import nets


def accuracies(solver, net, weights, batches=None):
    """(accuracy with the stored statistics, with new ones, batches), of the caffemodel `weights`. Fail where it is another network's.

    `solver`, `net`: SolverParameter and NetParameter of the run; `batches`: how many to average over, None for one pass.
    """
    from engines.torch import engine as engines
    from engines.torch import solver as solvers

    plain = m.NetParameter()
    plain.CopyFrom(net)
    for layer in plain.layer:
        if layer.type == "BatchNorm":
            layer.batch_norm_param.moving_average_fraction = 1  # nothing is forgotten: the sums become a plain average
    engine = engines.make(solver, plain, None)
    solvers.load(engine.blobs, weights)
    stored, _ = engine.validate(lambda: False)
    data = engine.data[m.TRAIN]
    (feed,) = data.feeds
    batches = batches or -(-feed.count // feed.batch)
    engine.train_net.renew_statistics(data.next() for _ in range(batches))
    anew, _ = engine.validate(lambda: False)
    return stored, anew, batches


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.statistics", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="the folder of a finished run")
    args = parser.parse_args()
    final = os.path.join(args.run, runs.FINAL)
    if not os.path.exists(final):
        raise errors.Fail("there is no %s: train it first, with `make pretrain` or `make study`" % final)
    solver = text.read(os.path.join(args.run, "solver.prototxt"), m.SolverParameter)
    net = text.read(solver.net, m.NetParameter)
    stored, anew, batches = accuracies(solver, net, final)
    said = dict(stored=stored, anew=anew, batches=batches, weights_sha256=files.sha256(final), net=net.name)
    with files.replacing(os.path.join(args.run, "statistics.json")) as temporary, open(temporary, "w") as f:
        json.dump(said, f, indent=1)
        f.write("\n")
    images = solver.test_iter[0] * nets.data_layer(net, m.TEST).data_param.batch_size
    print(
        "%s: %.2f%% with the stored statistics, %.2f%% with statistics of %d batches anew (n = %s)"
        % (args.run, 100 * stored, 100 * anew, batches, format(images, ","))
    )


if __name__ == "__main__":
    main()
