"""Transfer (III-B): all weights of the pretrained network, only the final layer replaced.

Caffe copies by layer name and skips what does not match, silently. Here the difference must be exactly the final layer:
every blob of every other layer is copied, BatchNorm's three included, and compared bit by bit afterwards.
"""
from common import errors
from common.caffe import binary
from common.caffe import messages as m

SHOWN = 3  # layers named in an error


def read(path):
    """Layer name -> [float32 arrays] of a caffemodel. Fail where it holds none."""
    found = {} if path.endswith(".solverstate") else binary.layers(binary.read(path, m.NetParameter))
    if not found:
        raise errors.Fail("%s holds no weights: give the .caffemodel of a pretrained network" % path)
    return found


def check(path, source, target, final):
    """Fail in one line unless `source` and `target` (name -> blobs) differ exactly by their final layers.

    `final`: the target's final layer. Returns the name of the source's final layer.
    """
    if final in source:
        same = _shapes(source[final]) == _shapes(target[final])
        raise errors.Fail("%s already ends in %s%s: it was trained on this data set; the source of a transplant is a pretrained network"
                          % (path, final, "" if same else " with %s outputs instead of %s" % (len(source[final][0]), len(target[final][0]))))
    left = list(source)[-1]
    extra = [n for n in source if n not in target and n != left]
    missing = [n for n in target if n not in source and n != final]
    if extra or missing or left in target:
        found = [(extra, "more"), (missing, "fewer")] if left not in target else [(missing + [final], "fewer")]
        raise errors.Fail("%s is of another network (another depth?): it has %s than this net" % (path, " and ".join(
            "%d layers %s (%s)" % (len(names), what, _some(names)) for names, what in found if names)))
    other = [n for n in target if n != final and _shapes(source[n]) != _shapes(target[n])]
    if other:
        name = other[0]
        raise errors.Fail("%s is of another network: %d layers have other shapes (%s: %s, this net has %s)" % (
            path, len(other), name, _text(source[name]), _text(target[name])))
    return left


def transplant(path, engine, final):
    """Copy the caffemodel at `path` into `engine`, all but layer `final`; return the table of what happened, as text."""
    source, target = read(path), engine.weights()
    left = check(path, source, target, final)
    copied = {name: blobs for name, blobs in source.items() if name != left}
    engine.load_weights(copied)
    _verify(path, copied, target[final], engine.weights(), final)
    return table(path, source, target, left, final)


def _verify(path, copied, fresh, now, final):
    """Every copied blob is equal bit by bit (NaN and -0 included), and the final layer is as it was initialised."""
    expected = dict(copied, **{final: fresh})
    wrong = [name for name in expected if not all(
        a.tobytes() == b.tobytes() for a, b in zip(expected[name], now[name])) or len(expected[name]) != len(now[name])]
    if wrong or set(expected) != set(now):
        raise errors.Fail("the weights of %s did not arrive bit by bit (%s): this Caffe cannot be trusted, run `make doctor`"
                          % (path, _some(wrong)))


def table(path, source, target, left, final):
    """One line a layer: what it is and whether it was copied, starts afresh or was left behind."""
    rows = [(name, _text(target[name]), "starts afresh" if name == final else "copied") for name in target]
    rows.append((left, _text(source[left]), "left behind"))
    numbers = sum(blob.size for name in target if name != final for blob in target[name])
    lines = ["  %-32s %-40s %s" % row for row in rows]
    summary = "transplanted %s: %d layers, %s numbers copied bit for bit; %s starts afresh, %s left behind" % (
        path, len(target) - 1, "{:,}".format(numbers), final, left)
    return "\n".join(lines + [summary])


def _shapes(blobs):
    return [blob.shape for blob in blobs]


def _text(blobs):
    return ", ".join("x".join(map(str, blob.shape)) or "1" for blob in blobs)


def _some(names):
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
