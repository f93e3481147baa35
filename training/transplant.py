"""Transfer (III-B): all weights of the pretrained network, only the final layer replaced.

    python3 -m training.transplant --weights runs/resnet20_cifar10/final.caffemodel \\
        --net prototxt/resnet20_ferplus_deploy.prototxt --out runs/resnet20_ferplus_from_cifar10/init.caffemodel

writes init.caffemodel, which holds everything but a final layer, and beside it init.txt: of what it was made, layer by layer. All
trials of a row begin with this file, here (training.run --weights) and under the stock `caffe train --weights`, and each draws the
final layer from its own seed.

Caffe copies by layer name and skips what does not match, silently. Here the difference must be exactly the final layer:
every blob of every other layer is copied, BatchNorm's three included, and compared bit by bit afterwards.
"""

from __future__ import annotations

import argparse
import os
from collections import namedtuple

import numpy as np

from common import errors, files, streams
from common.caffe import binary, text
from common.caffe import messages as m
from netgen import nets
from netgen import weights as net_weights

SHOWN = 3  # layers named in an error
Origin = namedtuple("Origin", "path sha256")  # the caffemodel that weights come from, and the hash of that file


def write(path, net, out):
    """Write the caffemodel at `path` to `out`, without its final layer, for the deploy NetParameter `net`; the table, as text.

    The table is written first, beside `out` (.txt); it begins with the hashes of both files, in the form of sha256sum. Fail as `check`.
    """
    source, target = read(path), _blobs_of(net)
    final = nets.final_layer(net).name
    left = check(path, source, target, final)
    model = binary.read(path, m.NetParameter)
    made = m.NetParameter(name=model.name)
    for layer in model.layer:
        if layer.blobs and layer.name != left:
            made.layer.add(name=layer.name, type=layer.type, blobs=layer.blobs)
    with files.replacing(out) as temporary:
        with open(temporary, "wb") as f:
            f.write(made.SerializeToString())
        hashes = ["%s  %s" % pair for pair in ((files.sha256(path), path), (files.sha256(temporary), out))]
        shown = "\n".join(hashes + [table(path, source, target, left, final)])
        with files.replacing(_beside(out)) as beside, open(beside, "w") as f:
            f.write(shown + "\n")
    return shown


def origin(path: str) -> Origin:
    """The Origin of the weights at `path`: what the table beside it says where there is one of just these bytes, else the file itself."""
    here = files.sha256(path)
    try:
        with open(_beside(path)) as f:
            source, made = (f.readline().rstrip("\n").split("  ", 1) for _ in range(2))
        if made[0] == here:
            return Origin(source[1], source[0])
    except (OSError, IndexError, UnicodeDecodeError):
        pass
    return Origin(path, here)


def copied(path, net):
    """Layer name -> [float32 arrays] of those weights at `path` that a transplant into NetParameter `net` copies."""
    names = {layer.name for layer in net.layer} - {nets.final_layer(net).name}
    return {name: blobs for name, blobs in read(path).items() if name in names}


def _beside(path):
    return os.path.splitext(path)[0] + ".txt"


def _blobs_of(net):
    """Layer name -> arrays of the shapes that a deploy net's blobs have."""
    return {name: [np.broadcast_to(np.float32(0), shape) for shape in shapes] for name, shapes in net_weights.shapes(net).items()}


def read(path):
    """Layer name -> [float32 arrays] of a caffemodel. Fail where it holds none."""
    found = {} if path.endswith(".solverstate") else binary.layers(binary.read(path, m.NetParameter))
    if not found:
        raise errors.Fail("%s holds no weights: give the .caffemodel of a pretrained network" % path)
    return found


def check(path, source, target, final):
    """Fail in one line unless `source` and `target` (name -> blobs) differ exactly by their final layers.

    `final`: the target's final layer. Returns the name of the source's final layer, None where it holds none (init.caffemodel).
    """
    if final in source:
        same = _shapes(source[final]) == _shapes(target[final])
        raise errors.Fail(
            "%s already ends in %s%s: it was trained on this data set; the source of a transplant is a pretrained network"
            % (path, final, "" if same else " with %s outputs instead of %s" % (len(source[final][0]), len(target[final][0])))
        )
    extra = [n for n in source if n not in target]
    missing = [n for n in target if n not in source and n != final]
    left = extra.pop() if extra and extra[-1] == list(source)[-1] else None
    if extra or missing:
        raise errors.Fail(
            "%s is of another network (another depth?): it has %s than this net"
            % (path, " and ".join("%d layers %s (%s)" % (len(names), what, _some(names)) for names, what in ((extra, "more"), (missing, "fewer")) if names))
        )
    other = [n for n in target if n != final and _shapes(source[n]) != _shapes(target[n])]
    if other:
        name = other[0]
        raise errors.Fail(
            "%s is of another network: %d layers have other shapes (%s: %s, this net has %s)"
            % (path, len(other), name, _text(source[name]), _text(target[name]))
        )
    return left


def transplant(path, engine, final):
    """Copy the caffemodel at `path` into `engine`, all but layer `final`; return the table of what happened, as text."""
    source, target = read(path), engine.weights()
    left = check(path, source, target, final)
    taken = {name: blobs for name, blobs in source.items() if name != left}
    engine.load_weights(taken)
    _verify(path, taken, target[final], engine.weights(), final)
    return table(path, source, target, left, final)


def _verify(path, taken, fresh, now, final):
    """Every copied blob is equal bit by bit (NaN and -0 included), and the final layer is as it was initialised."""
    expected = dict(taken, **{final: fresh})
    wrong = [
        name for name in expected if not all(a.tobytes() == b.tobytes() for a, b in zip(expected[name], now[name])) or len(expected[name]) != len(now[name])
    ]
    if wrong or set(expected) != set(now):
        raise errors.Fail("the weights of %s did not arrive bit by bit (%s): this Caffe cannot be trusted, run `make doctor`" % (path, _some(wrong)))


def table(path, source, target, left, final):
    """One line a layer: what it is and whether it was copied, starts afresh or was left behind."""
    rows = [(name, _text(target[name]), "starts afresh" if name == final else "copied") for name in target]
    if left:
        rows.append((left, _text(source[left]), "left behind"))
    numbers = sum(blob.size for name in target if name != final for blob in target[name])
    lines = ["  %-32s %-40s %s" % row for row in rows]
    summary = "transplanted %s: %d layers, %s numbers copied bit for bit; %s starts afresh%s" % (
        path,
        len(target) - 1,
        "{:,}".format(numbers),
        final,
        ", %s left behind" % left if left else "",
    )
    return "\n".join(lines + [summary])


def _shapes(blobs):
    return [blob.shape for blob in blobs]


def _text(blobs):
    return ", ".join("x".join(map(str, blob.shape)) or "1" for blob in blobs)


def _some(names):
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


@errors.main
@streams.unfailing()
def main():
    parser = argparse.ArgumentParser(prog="python3 -m training.transplant", description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help="caffemodel of a pretrained network")
    parser.add_argument("--net", required=True, help="deploy prototxt of the network that takes them")
    parser.add_argument("--out", required=True, help="the caffemodel to write; its table lies beside it (.txt)")
    args = parser.parse_args()
    if not args.out.endswith(".caffemodel"):
        raise errors.Fail("--out %s: a file of weights is named .caffemodel, such as init.caffemodel" % args.out)
    write(args.weights, text.read(args.net, m.NetParameter), args.out)
    print("wrote %s and %s" % (args.out, _beside(args.out)))


if __name__ == "__main__":
    main()
