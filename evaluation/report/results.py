"""What the report is made from: every row and every ensemble of the paper, with the scores that are there."""

from collections import Counter, namedtuple

from evaluation.report import ensemble, rows
from paper import experiments, facts

# runs: rows.Runs; rows: every Row; single, ensembles: [ensemble.Result], with or without trials; engines: Counter.
Results = namedtuple("Results", "runs rows single ensembles engines n")


def read(runs):
    """Results of the runs chosen. Fail where no scores are there, or where they do not fit together."""
    everything = rows.table(runs)
    found = rows.load(everything, runs)
    single = [ensemble.result([row], found, row.paper) for row in everything if row.folder]
    ensembles = [ensemble.result(rows.find(everything, "+".join(map(str, e.rows))), found, e) for e in facts.TABLE3]
    engines = Counter(rows.engine(row, trial) for row in everything for trial in found[row.key])
    n = len(next(s for trials in found.values() for s in trials.values()).labels)
    return Results(runs, everything, single, ensembles, engines, n)


def some(count, word):
    """1 run, 2 runs."""
    return "%s %s%s" % (count, word, "" if str(count) == "1" else "s")


def part(results):
    """Which images, and how many."""
    names = {"test": "test part (PrivateTest)", "valid": "validation part (PublicTest)"}
    return "%s, n = %s" % (names.get(results.runs.split, results.runs.split), "{:,}".format(results.n))


def engines(results):
    """What trained the networks, with how many runs."""
    return ", ".join("%s (%s)" % (name, some(count, "run")) for name, count in sorted(results.engines.items()))


def epochs(results):
    """What short runs say of themselves; empty for the paper's lengths."""
    given = zip(("pretraining", "fine-tuning"), results.runs.epochs)
    return ", ".join("%s of %s" % (name, some(count, "epoch")) for name, count in given if count)


def file_name(results, *words):
    """The name, without ending, of a file of results: table2_test; what is not the paper's engine or length stands in it too."""
    engines_ = sorted(results.engines) if set(results.engines) != {experiments.CAFFE} else []
    lengths = ["%s%sep" % pair for pair in zip(("pretrain", "finetune"), results.runs.epochs) if pair[1]]
    return "_".join(list(filter(None, words)) + [results.runs.split] + engines_ + lengths)


def subtitle(results):
    """What the figures are of, in one line."""
    short = "; short runs: %s" % epochs(results) if epochs(results) else ""
    return "accuracy in percent, ten crops; %s; engine: %s; runs in %s%s" % (part(results), engines(results), results.runs.folder, short)


def missing(results):
    """[(Row, [trials])] of the rows whose trials are not all there, with those that are not."""
    return [(r.members[0], sorted(r.missing)) for r in results.single if r.missing]
