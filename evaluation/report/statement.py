"""A run's record as an in-toto statement, as tools for provenance read it: `python3 -m evaluation.report.statement RUN > RUN/statement.json`.

The subject is final.caffemodel; the predicate is SLSA's provenance: the command, the versions, and by digest what the weights were made from: solver, net,
manifest and transplanted weights (SHA-256 of the files), the LMDBs (`lmdbContent`: SHA-256 of keys and values in order, whatever pages
they lie on), the commit. It is unsigned; `ssh-keygen -Y sign` signs it like any file.
"""

import argparse
import json
import os

from common import errors, runs

FORM = {"statement": "https://in-toto.io/Statement/v1", "predicate": "https://slsa.dev/provenance/v1"}
BUILD = "https://slsa.dev/provenance/v1#training.run"


def of(folder):
    """The statement of a finished run, a dict. Fail on another one."""
    run = runs.read(folder)
    if run.get("state") != "finished" or "final_sha256" not in run:
        raise errors.Fail("%s is not finished: train it to its end, `make pretrain` or `make finetune`" % os.path.join(folder, "run.json"))
    made, sessions = run["inputs"], run["sessions"]
    last = sessions[-1]
    lmdbs = last.get("lmdbs", {})
    materials = [{"name": path, "digest": {"sha256": digest}} for path, digest in last["files"].items()]
    materials += [
        {"name": lmdbs.get(part) or made[key].get("lmdb"), "digest": {"lmdbContent": made[key]["sha256"]}}
        for part, key in (("train", "train"), ("valid", "valid" if "valid" in made else "test"))
        if key in made
    ]
    materials += [{"name": "this repository", "digest": {"gitCommit": commit}} for commit in sorted({s["git_commit"] for s in sessions if s.get("git_commit")})]
    return {
        "_type": FORM["statement"],
        "subject": [{"name": runs.FINAL, "digest": {"sha256": run["final_sha256"]}}],
        "predicateType": FORM["predicate"],
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {"command": last["command"], "engine": made.get("engine"), "solver": made.get("solver")},
                "internalParameters": {key: made[key] for key in ("net", "mean", "recipe", "weights") if made.get(key)},
                "resolvedDependencies": materials,
            },
            "runDetails": {
                "builder": {"id": last.get("machine") or "unknown", "version": {key: str(value) for key, value in last["versions"].items()}},
                "metadata": {"startedOn": sessions[0]["began"], "finishedOn": last["ended"]},
            },
        },
    }


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.report.statement", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="the folder of a finished run")
    print(json.dumps(of(parser.parse_args().run), indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
