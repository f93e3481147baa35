"""The ladder of the recipe: what one change of it is worth, run by run, in docs/results/ladder.csv: `make study OF=ladder SHOW=1`.

    python3 -m evaluation.report.ladder                         the table, from the CSV alone
    python3 -m evaluation.report.ladder --work ladder ...       collect from the runs there first
    python3 -m evaluation.report.ladder --figure docs/results/ladder.png    the table, and a picture of it
    python3 -m evaluation.report.ladder --work ladder --rules ladder/rules.mk ...     and write the rules of what is missing, for make

Rungs and seeds are paper/recipe.py's. Accuracies are by FER+'s own majority rule on PublicTest, of one crop and of the mirrored pair.
"""

import csv
import os
import statistics

from common import built, errors, runs
from common import scores as scores_file
from evaluation import votes
from evaluation.report import figures, rules, table
from paper import recipe

COLUMNS = ("rung", "seed", "epochs", "one_crop", "pair", "n", "engine", "commit", "minutes")
BASE = next(iter(recipe.RUNGS))
SPLIT = "valid"  # PublicTest; PrivateTest is not looked at


def planned():
    """[(rung, seed)] of the whole ladder, in the order in which they are run: the first seeds of all before the second."""
    seeds = {rung: recipe.LADDER_SEEDS.get(rung, (1,)) for rung in recipe.RUNGS}
    return [(rung, seed) for seed in sorted(set(sum(seeds.values(), ()))) for rung in recipe.RUNGS if seed in seeds[rung]]


def folder(work, rung, seed):
    return os.path.join(work, "runs", rung, "seed%d" % seed)


def read(path):
    """{(rung, seed): its line as a dict} of a ladder.csv; {} where there is none. Fail where it is no such table."""
    if not os.path.exists(path):
        return {}
    with open(path, newline="", encoding="utf-8") as f:
        lines = csv.DictReader(f)
        try:
            if tuple(lines.fieldnames or ()) != COLUMNS:
                raise ValueError
            found = {(line["rung"], int(line["seed"])): line for line in lines}
            if not found.keys() <= set(planned()) or not all(0 <= float(line[name]) <= 100 for line in found.values() for name in ("one_crop", "pair")):
                raise ValueError
        except (ValueError, TypeError):
            raise errors.Fail("%s is no table of the rungs of paper/recipe.py: get it back with git" % path) from None
    return found


def collect(work, data, lines):
    """The lines, with those of every run that is finished and tested in the folder `work` in place of older ones, in their order."""
    found = dict(lines)
    for rung, seed in planned():
        line = _line(folder(work, rung, seed), os.path.join(data, "ferplus_votes"), rung, seed)
        if line:
            found[rung, seed] = line
    return {key: found[key] for key in planned() if key in found}


def _line(made, data, rung, seed):
    """A run's line; None where it is not finished or not tested."""
    scores = os.path.join(made, "scores_%s.npz" % SPLIT)
    kept = runs.read(made) if os.path.isdir(made) else {}
    if kept.get("state") != "finished" or not os.path.exists(scores):
        return None
    judged = next(each for each in votes.figures(scores_file.read(scores), data) if each["rule"] == votes.FERPLUS)
    return dict(
        zip(
            COLUMNS,
            (
                rung,
                str(seed),
                str(recipe.RUNGS[rung].epochs),
                rules.percent(judged["one_crop"]),
                rules.percent(judged["ten_crops"]),
                str(judged["n"]),
                kept["inputs"]["engine"],
                str(kept["sessions"][-1]["git_commit"]),
                rules.minutes(kept),
            ),
        )
    )


def write(path, lines):
    rules.write(path, COLUMNS, lines.values())


def write_missing(args, lines):
    write_rules(args, [key for key in planned() if key not in lines])


def write_rules(args, missing):
    makefile, root, votes_data = rules.Rules(args), args.work, os.path.join(args.data, "ferplus_votes")
    sets = ["ferplus_votes", *{recipe.TRANSFERRED[rung]: None for rung, _ in missing if rung in recipe.TRANSFERRED}]
    for name in sets if missing else ():
        built.manifest(os.path.join(args.data, name))
    nets = makefile.add(  # no file: another round may have other rungs, and other sets behind them
        root + "/nets",
        [],
        makefile.python("netgen", "--root", root, "--rungs"),
        ["mkdir", "-p", root + "/data"],
        ["ln", "-sfn", *(os.path.abspath(os.path.join(args.data, name)) for name in sets), root + "/data/"],
    )
    answers = makefile.add(
        root + "/teacher/scores_train.npz",
        [],
        makefile.testing(args.teacher + "/deploy.prototxt", args.teacher + "/net.caffemodel", votes_data, "train", "--out", root + "/teacher"),
    )
    goals = []
    for rung, seed in missing:
        made = folder(root, rung, seed)
        needs, more = [nets], []
        if rung in recipe.TAUGHT:
            needs, more = [nets, answers], ["--teacher", answers]
        if rung in recipe.TRANSFERRED:
            init = _transferred(makefile, root, rung, nets)
            needs, more = [init], ["--weights", init]
        final = makefile.add(
            os.path.join(made, runs.FINAL), needs, makefile.training("%s/solvers/%s.prototxt" % (root, rung), made, "--recipe", rung, "--trial", seed, *more)
        )
        goals.append(
            makefile.add(
                os.path.join(made, "scores_%s.npz" % SPLIT),
                [final],
                makefile.testing("%s/prototxt/%s_deploy.prototxt" % (root, rung), final, votes_data, SPLIT, "--resize", recipe.side(recipe.RUNGS[rung])),
            )
        )
    makefile.write(args.rules, goals)


def _transferred(makefile, root, rung, nets):
    """Add what a rung begins with, and the pretraining before it: the path of all blobs but the final layer's."""
    name = "resnet%d_%s" % (recipe.RUNGS[rung].depth, recipe.TRANSFERRED[rung])
    made = os.path.join(root, "runs", name)
    source = makefile.add(os.path.join(made, runs.FINAL), [nets], makefile.training("%s/solvers/%s.prototxt" % (root, name), made))
    init, net = os.path.join(root, "runs", rung, "init.caffemodel"), "%s/prototxt/%s_deploy.prototxt" % (root, rung)
    return makefile.add(init, [source], makefile.python("training.transplant", "--weights", source, "--net", net, "--out", init))


def report(lines):
    """Every run's line beside the mean of the base's, as text."""
    means = _means(lines)
    columns = [table.column(name) for name in ("rung", "seed", "one crop", "beside the base", "mirrored pair", "beside", "minutes")]
    body = [
        [rung, seed, line["one_crop"], _beside(line["one_crop"], means[0]), line["pair"], _beside(line["pair"], means[1]), line["minutes"]]
        for (rung, seed), line in lines.items()
    ]
    whole = table.Table(
        "ladder",
        "The ladder of paper/recipe.py (docs/decisions.md, 2)",
        "accuracy in percent, PublicTest, FER+'s majority, n = %s; %d epochs" % (_n(lines), recipe.LADDER_EPOCHS),
        columns,
        body,
        [],
        [],
    )
    missing = ["%s seed %d" % key for key in planned() if key not in lines]
    return table.to_text(whole).rstrip() + ("\n\nmissing: %s (`make study OF=ladder`)" % ", ".join(missing) if missing else "")


def _means(lines):
    """(one crop, mirrored pair) of the base, each the mean of its runs; None of a ladder without it."""
    runs_ = [line for (rung, _), line in lines.items() if rung == BASE]
    return [statistics.mean(float(line[name]) for line in runs_) if runs_ else None for name in ("one_crop", "pair")]


def _beside(value, mean):
    return None if mean is None else "%+.2f" % (float(value) - mean)


def draw(lines, path):
    """Write the picture of the ladder, its rungs by what they add with one crop, to the PNG `path`. Fail where no base was run."""
    beside, means = {}, _means(lines)
    for (rung, _), line in lines.items():
        beside.setdefault(rung, []).append(tuple(float(line[name]) - (mean or 0) for name, mean in zip(("one_crop", "pair"), means)))
    own = beside.pop(BASE, None)
    if not own or not beside:
        raise errors.Fail("no picture of a ladder without its base and a rung: run `make study OF=ladder`")
    order = sorted(beside, key=lambda rung: -statistics.mean(one for one, _ in beside[rung]))
    with figures.style():
        figure, ax = figures.plt.subplots(figsize=(7.5, 1.2 + 0.32 * len(order)))
        figures.differences(ax, [(recipe.SAID[rung.split("-", 1)[1]], beside[rung]) for rung in order], own)
        ax.set_title(
            "What one change adds to `small` in %d epochs\n(grey: between its own %d seeds; PublicTest, n = %s)" % (recipe.LADDER_EPOCHS, len(own), _n(lines)),
            loc="left",
        )
        figure.tight_layout()
        figures.save(figure, path)


def _n(lines):
    return ", ".join(sorted({"{:,}".format(int(line["n"])) for line in lines.values()})) or "-"


@errors.main
def main():
    parser = rules.options("ladder", __doc__)
    parser.add_argument("--teacher", default="models/resnet20_votes", help="the network that teaches (default: %(default)s)")
    parser.add_argument("--figure", metavar="PNG", help="draw the table too")
    args = parser.parse_args()
    rules.run(args, read, lambda args, lines: collect(args.work, args.data, lines), write, write_missing, report)
    if args.figure:
        draw(read(args.csv), args.figure)
        print("wrote " + args.figure)


if __name__ == "__main__":
    main()
