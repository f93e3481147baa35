"""What pyproject.toml's build does to a wheel: it gets the lines of models/SHA256SUMS whose files are in it, for `fer-lite verify`."""
import os
import tempfile

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SUMS = "models/SHA256SUMS"


class WheelSums(BuildHookInterface):
    """The class that hatchling looks for in this file."""

    def initialize(self, version, build_data):
        there = {os.path.relpath(each.path, self.root).replace(os.sep, "/") for each in self.build_config.builder.recurse_included_files()}
        self.folder = tempfile.TemporaryDirectory(prefix="fer-lite-wheel-")
        kept = os.path.join(self.folder.name, "sums")
        with open(os.path.join(self.root, *SUMS.split("/")), encoding="utf-8") as f, open(kept, "w", encoding="utf-8", newline="\n") as out:
            out.writelines(line for line in f if "models/" + line.split()[1] in there)
        build_data["force_include"][kept] = "fer_lite/" + SUMS

    def finalize(self, version, build_data, artifact_path):
        self.folder.cleanup()
