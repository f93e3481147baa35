"""A training step as one CUDA graph: its hundreds of kernels are launched at once, which a net this small spends most of its time on."""

import gc

import torch

WARM = 3  # calls before the capture, in which libraries choose kernels and take their memory


class Graph:
    """`function(rate, tensors)`, as a CUDA graph from its first call on.

    The function changes tensors in place, returns nothing, and asks the host nothing. `state`: what it changes and reads
    again, which warming up must leave as it was.
    """

    def __init__(self, function, state):
        self.function, self.state, self.graph = function, [tensor.detach() for tensor in state], None

    def __call__(self, rate, tensors):
        if self.graph is None:
            self._capture(rate, tensors)
        self.rate.fill_(rate)
        for place, given in zip(self.places, tensors):
            place.copy_(given, non_blocking=True)
        self.graph.replay()

    def _capture(self, rate, tensors):
        gc.collect()  # an engine of before, whose graph must not be destroyed amid a capture, nor hold its memory
        device, before = self.state[0].device, [tensor.clone() for tensor in self.state]
        self.rate, self.places = torch.tensor(rate, device=device), [given.to(device) for given in tensors]
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM):
                self.function(self.rate, self.places)
        torch.cuda.current_stream(device).wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.function(self.rate, self.places)
        for tensor, value in zip(self.state, before):
            tensor.copy_(value)
