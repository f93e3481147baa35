"""Trials side by side: each is an engines.Trainer, and one engine computes for all of them."""

from engines.torch import engine


def make(runs, precision):
    """A Trial for each (SolverParameter, NetParameter), which differ by seed, training part and names only. Fail on what cannot run."""
    shared = engine.TorchEngine(runs, precision)
    return [Trial(shared, at) for at in range(len(runs))]


class Trial:
    """Trial number `at`, from 0. The first of the trials that asks for a step or a validation has it computed for all."""

    def __init__(self, shared, at):
        self.shared, self.at, self.iter, self.chunk = shared, at, shared.iter, shared.chunk
        shared.stepped, shared.validated = None, (None, None)  # what the last computation gave, for each trial

    def step(self, n):
        if self.shared.iter == self.iter:
            self.shared.stepped = self.shared.steps(n)
        self.iter += n
        assert self.iter == self.shared.iter, "trials side by side go in step"
        return self.shared.stepped[self.at]

    def validate(self, stopped):
        if self.shared.validated[0] != self.iter:
            found = self.shared.validations(stopped)
            if found is None:
                return None
            self.shared.validated = self.iter, found
        return self.shared.validated[1][self.at]

    def snapshot(self, prefix):
        self.shared.snapshot(prefix, self.at)

    def restore(self, solverstate, validations):
        self.shared.restore(solverstate, validations, self.at)
        self.iter = self.shared.iter

    def save(self, path):
        self.shared.save(path, self.at)

    def weights(self):
        return self.shared.weights(self.at)

    def load_weights(self, weights):
        self.shared.load_weights(weights, self.at)

    def versions(self):
        return dict(self.shared.versions(), side_by_side=self.shared.blobs.trials)
