"""What pyproject.toml's build does to a wheel, for `fer-lite verify`: it gets the lines of models/SHA256SUMS whose files are in it, and where
that list is signed (`make sign`) the whole of it too, as SHA256SUMS.signed beside the signature."""

import os
import tempfile

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SUMS = "models/SHA256SUMS"


class WheelSums(BuildHookInterface):
    """The class that hatchling looks for in this file."""

    def initialize(self, version, build_data):
        there = {os.path.relpath(each.path, self.root).replace(os.sep, "/") for each in self.build_config.builder.recurse_included_files()}
        self.folder = tempfile.TemporaryDirectory(prefix="fer-lite-wheel-")
        kept, whole = os.path.join(self.folder.name, "sums"), os.path.join(self.root, *SUMS.split("/"))
        with open(whole, encoding="utf-8") as f, open(kept, "w", encoding="utf-8", newline="\n") as out:
            out.writelines(line for line in f if "models/" + line.split()[1] in there)
        build_data["force_include"][kept] = "fer_lite/" + SUMS
        if os.path.exists(whole + ".sig"):
            build_data["force_include"][whole] = "fer_lite/%s.signed" % SUMS

    def finalize(self, version, build_data, artifact_path):
        self.folder.cleanup()
