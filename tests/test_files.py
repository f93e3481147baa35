"""Files that are whole or not there."""
import errno
import os
import platform
import subprocess
import sys

import pytest

from common import files


def test_what_a_killed_process_left_is_removed_on_its_host_only(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here, elsewhere, alive = (tmp_path / ("a.partial-%s-%d" % pair) for pair in (
        (platform.node(), dead.pid), ("other-" + platform.node(), dead.pid), (platform.node(), os.getppid())))
    for path in (here, elsewhere, alive):
        path.write_text("half")
    with files.replacing(tmp_path / "a") as temporary, open(temporary, "w") as f:
        f.write("whole")
    assert (tmp_path / "a").read_text() == "whole"
    assert not here.exists() and elsewhere.exists() and alive.exists()


def test_a_failure_leaves_what_was_there_and_names_it(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(OSError) as problem, files.replacing(path) as temporary:
        with open(temporary, "w") as f:
            f.write("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert problem.value.filename == str(path) and path.read_text() == "old" and os.listdir(tmp_path) == ["a"]
