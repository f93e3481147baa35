"""The training loop, the same for every engine: iterations, log, validation, snapshots, signals, and a watch on the loss.

At each iteration N that has them due: validation, a row of the log, a snapshot, in this order. A run that continues
from a snapshot therefore writes the rows that an uninterrupted one writes, and ends in the same bytes.
"""

import contextlib
import csv
import errno
import math
import os
import signal
import time

import numpy as np

from common import errors, files, runs
from common.caffe import messages as m
from common.progress import Progress
from netgen import nets
from netgen import solver as schedule
from training import snapshots

ROWS = 100  # a log has at least so many rows, and one for each `display` iterations
EXPLODED = 4.0  # times ln(classes), the loss of pure guessing ...
EXPLODED_FOR = 20  # ... over so many steps: a fresh net at a high rate passes through 2 x and comes back
CHANCE_AFTER = 2  # epochs
CHANCE = 1.05  # times the largest class's share: nothing has been learnt
ECHO = 1.0  # seconds in which a second signal is still the first
RETRY = 60.0  # seconds until a snapshot that the disk refused is tried again
TIME_LIMIT = "time limit"


class Stop:
    """Why the run should stop now: a signal's name, the time limit, or None. A second signal ends the process at once.

    SIGHUP (a lost terminal, `kill -HUP`) stops nothing: as in stock Caffe it asks for a snapshot, and the run goes on.

    Slurm sends a signal to every process of a job, env/run passes it on, and a terminal may do both: within ECHO
    seconds it is the same one.
    """

    def __init__(self, seconds):
        self.signal, self.noted, self.hangup = None, 0.0, False
        self.deadline = time.monotonic() + seconds if seconds else math.inf
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)
        signal.signal(signal.SIGHUP, self._note_hangup)

    def _note(self, number, _):
        now = time.monotonic()
        if not self.signal:
            self.signal, self.noted = number, now
        elif now - self.noted > ECHO:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _note_hangup(self, *_):
        self.hangup = True

    def asked(self):
        """Whether a snapshot was asked for since the last call."""
        asked, self.hangup = self.hangup, False
        return asked

    def __call__(self):
        if self.signal:
            return signal.Signals(self.signal).name
        return TIME_LIMIT if time.monotonic() > self.deadline else None

    def status(self):
        """The exit status: 128 + signal as the shell has it; 75 (try again) for the time limit."""
        return 128 + self.signal if self.signal else 75


class Log:
    """log.csv: rows behind iteration `start` are dropped, for the run comes by them again."""

    def __init__(self, path, start):
        rows = [row for row in runs.read_log(path) if row["iteration"] <= start] if start else []
        self.last = rows[-1]["iteration"] if rows else -1
        with files.replacing(path) as temporary, open(temporary, "w", newline="") as f:
            writer = csv.writer(f)
            writer.writerow(runs.COLUMNS)
            writer.writerows([_cell(row[name]) for name in runs.COLUMNS] for row in rows)
        self.file = open(path, "a", newline="")

    def write(self, row):
        csv.writer(self.file).writerow([_cell(row[name]) for name in runs.COLUMNS])
        self.last = row["iteration"]
        self.sync()

    def sync(self):
        """Push the rows to the disk. A full one keeps them in memory; the next call tries again."""
        with contextlib.suppress(OSError):
            self.file.flush()
            os.fsync(self.file.fileno())


def _cell(value):
    return "" if value is None else str(value) if isinstance(value, int) else "%.7g" % value


class Training:
    """One job on one engine, from where the engine stands. `state`: of the snapshot that was restored, or {}."""

    def __init__(self, engine, work, scratch, state, minutes, stop):
        self.engine, self.work, self.scratch, self.stop = engine, work, scratch, stop
        self.solver, self.end = work.solver, work.solver.max_iter
        self.batch = nets.data_layer(work.net, m.TRAIN).data_param.batch_size
        self.epoch = work.parts["train"].images / self.batch  # iterations
        self.row_every = min(self.solver.display or ROWS, math.ceil(self.end / ROWS))
        self.log = Log(os.path.join(work.out, "log.csv"), engine.iter)
        self.loss_sum, self.loss_count = state.get("loss_since_row", (0.0, 0))
        self.validations, self.accuracy = state.get("validations", 0), state.get("accuracy")
        self.spent, self.began = state.get("seconds", 0.0), time.monotonic()
        self.images, self.busy = 0, 0.0  # since the last row: images trained, seconds in the engine
        self.good = state.get("iteration")  # the last snapshot that is whole
        self.minutes, self.next_snapshot = minutes, self.began + 60 * minutes
        self.exploding, self.warned, self.problem = 0, False, None

    def _step(self):
        n = self.engine.iter
        reach = min([self.end - n] + [every - n % every for every in (self.row_every, self.solver.test_interval, self.solver.snapshot) if every])
        steps = min(self.engine.chunk, reach)
        loss = self.engine.step(steps)
        self.images += steps * self.batch
        self.loss_sum, self.loss_count = self.loss_sum + loss * steps, self.loss_count + steps
        self._watch(loss, steps)
        self._show()

    def _show(self):
        if self.bar.label == self.work.out:  # of several side by side the first speaks for all
            self.bar.update(self.engine.iter, self._note())

    def _note(self):
        text = "epoch %.2f  rate %.3g  loss %.4f" % (
            self.engine.iter / self.epoch,
            schedule.rate(self.solver, self.engine.iter - 1),
            self.loss_sum / self.loss_count,
        )
        if self.accuracy is not None:
            text += "  validation %.2f%%" % (100 * self.accuracy)
        return text + ("  %.0f images/s" % (self.images / self.busy) if self.busy else "")

    def _log(self):
        """A row of the log where one is due; a validation too where one is due."""
        n = self.engine.iter
        validates = n == self.end or n % self.solver.test_interval == 0 and (n > 0 or self.solver.test_initialization)
        if n <= self.log.last or not validates and (n == 0 or n % self.row_every):
            return
        accuracy = loss = None
        if validates:
            result = self.engine.validate(self.stop)
            if result is None:
                return  # stopped; the run that continues validates first
            accuracy, loss = result
            self.validations, self.accuracy = self.validations + 1, accuracy
            self._warn_at_chance(accuracy)
            if self.loss_count:
                self._show()
        self.log.write(
            dict(
                iteration=n,
                epoch=n / self.epoch,
                rate=schedule.rate(self.solver, max(0, n - 1)),
                loss=self.loss_sum / self.loss_count if self.loss_count else None,
                validation_accuracy=accuracy,
                validation_loss=loss,
                images_per_second=self.images / self.busy if self.busy else None,
                seconds=self.seconds(),
            )
        )
        self.loss_sum, self.loss_count, self.images, self.busy = 0.0, 0, 0, 0.0

    def seconds(self):
        return self.spent + time.monotonic() - self.began

    def overdue(self):
        """Whether the last snapshot is so many minutes old."""
        return time.monotonic() >= self.next_snapshot

    def _snapshot_if_due(self, asked, wanted):
        """A snapshot where the solver has one, where SIGHUP `asked` for one, or where it is `wanted` for another reason."""
        n, now = self.engine.iter, time.monotonic()
        if n == (self.good or 0) or not (self._regular(n) or asked or wanted):
            return
        self._check_weights()
        self.log.sync()
        state = dict(
            inputs=self.work.identity,
            seconds=self.seconds(),
            accuracy=self.accuracy,
            validations=self.validations,
            loss_since_row=(self.loss_sum, self.loss_count),
        )
        try:
            snapshots.write(self.engine, self.work.out, self.scratch, state)
        except OSError as problem:
            self.bar.say(
                "no snapshot at iteration %d: %s; training goes on, the last good one is %s"
                % (n, "%s (%s)" % (problem.strerror, problem.filename) if problem.filename else problem, self.last_good())
            )
            self.next_snapshot = now + RETRY
            return
        self.good, self.next_snapshot = n, now + 60 * self.minutes
        if asked:
            self.bar.say("SIGHUP: a snapshot at iteration %d, training goes on" % n)
        self._remove_passing(n)

    def _regular(self, n):
        """Whether iteration n is one at which the solver asks for a snapshot; those are kept."""
        return bool(self.solver.snapshot) and n % self.solver.snapshot == 0

    def _remove_passing(self, last):
        """Remove the snapshots between the solver's own, all but the last."""
        for n in snapshots.iterations(self.work.out):
            if n != last and not self._regular(n):
                snapshots.remove(self.work.out, n)

    def last_good(self):
        return "none" if self.good is None else snapshots.prefix(self.work.out, self.good)

    def _watch(self, loss, steps):
        """Stop the run where a person would: the loss is no number, or stays far above that of guessing."""
        limit = EXPLODED * math.log(self._classes())
        self.exploding = self.exploding + steps if loss > limit else 0
        if not math.isfinite(loss):
            self._fail("the loss is %s" % loss)
        if self.exploding >= max(EXPLODED_FOR, 2 * steps):  # a mean may be one iteration's
            self._fail("the loss exploded: above %.1f for %d iterations" % (limit, self.exploding))

    def _check_weights(self):
        if not all(np.isfinite(blob).all() for blobs in self.engine.weights().values() for blob in blobs):
            self._fail("a weight is not finite")

    def _fail(self, problem):
        n = self.engine.iter
        raise errors.Fail(
            "%s: %s at iteration %d, rate %g; last good snapshot: %s; lower base_lr or look at the data, then start anew"
            % (self.work.out, problem, n, schedule.rate(self.solver, max(0, n - 1)), self.last_good())
        )

    def _warn_at_chance(self, accuracy):
        labels = self.work.parts["valid"].labels
        chance = max(labels.values()) / sum(labels.values())
        n = self.engine.iter
        if not self.warned and accuracy <= CHANCE * chance and (n >= CHANCE_AFTER * self.epoch or n == self.end):
            self.warned = True
            self.bar.say(
                "warning: %s: validation accuracy %.2f%% after %.1f epochs is chance (the largest class has %.2f%%): "
                "nothing was learnt; look at labels and rate" % (self.work.out, 100 * accuracy, n / self.epoch, 100 * chance)
            )

    def _classes(self):
        return nets.final_layer(self.work.net).inner_product_param.num_output

    def save(self, path, keep):
        """Write the final weights to `path`, whole or not at all; the reason for stopping where that came first.

        `keep(made)` is called before, with a path of the same bytes: a kill in between must not leave weights that no
        record vouches for. A full disk is waited for. Afterwards no passing snapshot is needed.
        """
        self._check_weights()
        os.makedirs(self.scratch, exist_ok=True)
        made = os.path.join(self.scratch, "final.caffemodel")
        for write in (lambda: self._write(made), lambda: keep(made), lambda: snapshots.move(made, path)):
            reason = self._with_room(path, write)
            if reason:
                return reason
        self.log.sync()
        self._remove_passing(self.end)
        return None

    def _write(self, made):
        snapshots.require_room(self.engine, self.scratch)
        self.engine.save(made)

    def _with_room(self, path, write):
        """Call `write` until the disk has room for it; the reason for stopping where that came first."""
        while True:
            try:
                return write()
            except OSError as problem:
                if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                self.bar.say("%s cannot be written: %s; make room, it is tried again every %d seconds" % (problem.filename or path, problem.strerror, RETRY))
            again = time.monotonic() + RETRY
            while time.monotonic() < again:
                if self.stop():
                    return self.stop()
                time.sleep(0.1)


def train(trainings, stop):
    """Train them in step until the end or `stop()`; the reason for stopping, None at the end.

    One that fails keeps its `problem` and the others go on. Signals and the clock are asked once for all, so that all stop, and
    have their snapshots, at the same iteration.
    """
    going = list(trainings)

    def each(act, *arguments):
        for one in list(going):
            try:
                act(one, *arguments)
            except errors.Fail as problem:
                one.problem = problem
                going.remove(one)

    first = trainings[0]
    with Progress(first.work.out, first.end) as bar:
        for one in trainings:
            one.bar = bar
        bar.update(first.engine.iter)
        while going:
            each(Training._log)
            reason, asked = stop(), stop.asked()
            each(Training._snapshot_if_due, asked, reason or any(one.overdue() for one in going))
            if all(one.log.last == one.end for one in going):
                return None
            if reason:
                return reason
            start = time.monotonic()
            each(Training._step)
            for one in going:  # the first one's step computes for all
                one.busy += time.monotonic() - start
    return None
