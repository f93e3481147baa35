"""What a NetParameter says, for whoever reads one: its data layers, its final layer, its input, its classes."""
from common import errors
from paper import facts


def data_layer(net, phase):
    """The Data layer of a phase, m.TRAIN or m.TEST. Fail where there is none."""
    for layer in net.layer:
        if layer.type == "Data" and any(rule.phase == phase for rule in layer.include):
            return layer
    raise errors.Fail("net %s has no Data layer for the %s phase: run `make prototxt`" % (net.name, ("TRAIN", "TEST")[phase]))


def final_layer(net):
    """The InnerProduct layer whose scores the loss reads."""
    return [layer for layer in net.layer if layer.type == "InnerProduct"][-1]


def input_shape(net):
    """(channels, height, width) of a deploy net's input. Fail on a net without an Input layer, such as a train net."""
    if not net.layer or net.layer[0].type != "Input":
        raise errors.Fail("%s is no deploy net (no Input layer): take prototxt/..._deploy.prototxt" % net.name)
    return tuple(net.layer[0].input_param.shape[0].dim[1:])


def class_names(net):
    """The names of a deploy net's classes: FER+'s expressions, numbers for the sources."""
    count = final_layer(net).inner_product_param.num_output
    ferplus = final_layer(net).name == "fc_ferplus" and count == len(facts.EXPRESSIONS)
    return list(facts.EXPRESSIONS) if ferplus else [str(i) for i in range(count)]
