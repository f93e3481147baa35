"""Files that are whole or not there."""

import errno
import os
import subprocess
import sys

import pytest
import training_data as data

from common import files

HOLD = """
import sys
from common import files
with files.replacing(sys.argv[1]) as temporary:
    open(temporary, "w").close()
    print(temporary, flush=True)
    sys.stdin.read()
"""


def write(path, content="whole"):
    with files.replacing(path) as temporary, open(temporary, "w") as f:
        f.write(content)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    path = tmp_path / "a"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], env=data.environment(), universal_newlines=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    killed, alive = (os.path.dirname(w.stdout.readline().strip()) for w in writers)
    writers[0].kill()
    writers[0].wait()
    half = tmp_path / ("a.partial-host-%d" % os.getpid())  # as they were called before
    half.write_text("half")
    write(path)
    assert path.read_text() == "whole" and sorted(os.listdir(tmp_path)) == ["a", os.path.basename(alive)]
    assert killed != alive and not half.exists()
    writers[1].communicate("")
    assert writers[1].returncode == 0 and path.read_text() == "" and os.listdir(tmp_path) == ["a"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "big" / "set").mkdir(parents=True)
    (tmp_path / "set").symlink_to(tmp_path / "big" / "set")
    (tmp_path / "file").symlink_to("big/file")
    with files.replacing(tmp_path / "set") as temporary:
        os.mkdir(temporary)
        open(os.path.join(temporary, "new"), "w").close()
    write(tmp_path / "file")
    assert (tmp_path / "set").is_symlink() and (tmp_path / "file").is_symlink()
    assert os.listdir(tmp_path / "big" / "set") == ["new"] and (tmp_path / "big" / "file").read_text() == "whole"
    assert sorted(os.listdir(tmp_path)) == ["big", "file", "set"] and sorted(os.listdir(tmp_path / "big")) == ["file", "set"]
    (tmp_path / "gone").symlink_to("/nowhere/disk")
    with pytest.raises(OSError):
        write(tmp_path / "gone")
    assert not os.path.exists("/nowhere")


def test_a_failure_leaves_what_was_there_and_names_it(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(OSError) as problem, files.replacing(path) as temporary:
        with open(temporary, "w") as f:
            f.write("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert problem.value.filename == str(path) and path.read_text() == "old" and os.listdir(tmp_path) == ["a"]
