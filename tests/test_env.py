"""env/run: which provider it chooses, how it makes one, and what CMD sees of the caller's world.

Inside the environment bubblewrap is nested, so that CMD really runs in the rootfs. Making it is tested with programs
of our own in place of mmdebstrap, bwrap, apt-get, docker and conda, which write down how they were called.
"""

import fcntl
import hashlib
import os
import pty
import re
import shutil
import signal
import subprocess
import time

import pytest

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN = os.path.join(REPO, "env", "run")
SYSTEM = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@pytest.fixture(autouse=True)
def hang_ups_are_heard():
    """Under nohup, as CI may run, every program started here would begin with SIGHUP ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def environment(**more):
    """This process's environment as before env/run was entered, and `more`."""
    ours = ("CAFFE_ENV", "DEBIAN_MIRROR") + tuple(name for name in os.environ if name.startswith("FER_LITE_"))
    return dict({name: value for name, value in os.environ.items() if name not in ours}, **more)


def call(command, env, cwd=REPO, stdin=""):
    return subprocess.run(command, env=env, cwd=str(cwd), input=stdin, universal_newlines=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)


# ---------------------------------------------------------------- in the real rootfs


@pytest.fixture(scope="module")
def rootfs():
    """The environment variables with which env/run enters the rootfs that this test runs in."""
    if os.environ.get("FER_LITE_ENV") != "rootfs":
        pytest.skip("not in the rootfs: run with CAFFE_ENV=rootfs env/run pytest")
    if subprocess.call(["bwrap", "--dev-bind", "/", "/", "true"], stderr=subprocess.DEVNULL):
        pytest.skip("bubblewrap cannot be nested here")
    return environment(CAFFE_ENV="rootfs", FER_LITE_CACHE=os.path.dirname(os.environ["FER_LITE_PLACE"]))


def test_exit_status(rootfs):
    for status in (0, 1, 7, 255):
        assert call([RUN, "sh", "-c", "exit %d" % status], rootfs).returncode == status
    assert call([RUN, "sh", "-c", "kill -SEGV $$"], rootfs).returncode == 128 + signal.SIGSEGV
    assert call([RUN, "no-such-command"], rootfs).returncode == 127


def test_arguments_folder_input_and_silence(rootfs, tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    show = "pwd; cat; printf '[%s]' \"$@\""
    result = call([RUN, "sh", "-c", show, "sh", "two words", "", "a=b", "*", "--make"], rootfs, folder, "from stdin\n")
    assert result.stdout == "%s\nfrom stdin\n[two words][][a=b][*][--make]" % folder
    assert result.stderr == ""


def test_variables_pass_but_not_those_of_the_host_python(rootfs):
    names = "OPENBLAS_NUM_THREADS GLOG_minloglevel TRIAL PYTHONPATH PYTHONHOME LD_LIBRARY_PATH VIRTUAL_ENV".split()
    env = dict(rootfs, **{name: "7" for name in names[:3]})
    env.update({name: "/nonsense" for name in names[3:]})
    result = call([RUN, "sh", "-c", 'echo "%s"' % " ".join("$" + name for name in names)], env)
    assert result.stdout.split() == ["7", "7", "7"]
    assert call([RUN, "python3", "-c", "import caffe"], env).returncode == 0


def test_openblas_is_told_its_kernels_unless_the_caller_did(rootfs):
    with open("/proc/cpuinfo") as f:
        flags = set(next((line for line in f if line.startswith("flags")), "").split())
    best = "Haswell" if "avx2" in flags else ""
    if flags >= {"avx512f", "avx512dq", "avx512bw", "avx512vl"}:
        best = "SkylakeX"
    without = {name: value for name, value in rootfs.items() if name != "OPENBLAS_CORETYPE"}
    for env, wanted in [(without, best), (dict(without, OPENBLAS_CORETYPE="Zen"), "Zen")]:
        assert call([RUN, "sh", "-c", 'printf %s "$OPENBLAS_CORETYPE"'], env).stdout == wanted


def test_files_are_the_callers_and_the_system_is_read_only(rootfs, tmp_path):
    result = call([RUN, "sh", "-c", "id -u; echo x > mine; touch /usr/other /other"], rootfs, tmp_path)
    assert result.stdout.split() == [str(os.getuid())]
    assert (tmp_path / "mine").stat().st_uid == os.getuid()
    assert result.stderr.count("Read-only file system") == 2


def test_a_path_that_is_not_seen_inside_is_said(rootfs, tmp_path):
    """Inside, the test's own /usr is the rootfs's; so what is under the host's alone is played by a folder that a link leads to."""
    for argument in ("/usr/share", "/etc/passwd", str(tmp_path), "--from=%s" % tmp_path, "no such path", ""):
        assert call([RUN, "true", argument], rootfs).returncode == 0
    script = (
        'rootfs=$1 provider=rootfs; say() { echo "$*" >&2; }; fail() { say "error: $*"; return 1; }; '
        + re.search(r"(?s)see_all\(\) \{.*?\n\}", open(RUN).read()).group()
        + "; shift; see_all 'usr|etc' \"$@\""
    )
    link = tmp_path / "link"
    link.symlink_to("/usr/bin/env")
    for argument in ("/usr/bin/env", "--from=/usr/bin/env", str(link)):
        said = call(["bash", "-c", script, "bash", str(tmp_path), "python3", argument], rootfs)
        assert said.returncode == 1 and len(said.stderr.splitlines()) == 1 and argument in said.stderr and "/usr/bin/env" in said.stderr
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "train" / "cat").symlink_to("/usr/bin")
    said = call(["bash", "-c", script, "bash", str(tmp_path), "python3", "--from=%s" % (tmp_path / "data")], rootfs)
    assert said.returncode == 1 and len(said.stderr.splitlines()) == 1 and str(tmp_path / "data" / "train" / "cat") in said.stderr


def test_inside_nothing_is_entered_again(rootfs):
    result = call([RUN, "sh", "-c", 'echo $FER_LITE_ENV; "%s" --which; CAFFE_ENV=docker "%s" echo here' % (RUN, RUN)], rootfs)
    assert result.stdout.split() == ["rootfs", "rootfs", "here"]


CATCHER = """
import signal, sys, time
def caught(number, frame):
    print("caught", number, flush=True)
    time.sleep(0.3)  # as long as a snapshot takes
    sys.exit(40 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, caught)
print("up", flush=True)
time.sleep(20)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kill", [os.kill, os.killpg])
def test_a_signal_reaches_the_command_once(rootfs, number, kill):
    run = subprocess.Popen([RUN, "python3", "-c", CATCHER], env=rootfs, stdout=subprocess.PIPE, universal_newlines=True, start_new_session=True)
    assert run.stdout.readline() == "up\n"
    kill(run.pid, number)
    assert run.communicate(timeout=20)[0] == "caught %d\n" % number
    assert run.returncode == 40 + number


def test_under_nohup_the_command_is_too(rootfs):
    shown = "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    for before, expected in (([], "False\n"), (["nohup"], "True\n")):
        assert call(before + [RUN, "python3", "-c", shown], rootfs).stdout == expected


def test_ctrl_c_in_a_terminal_reaches_the_command_once(rootfs):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(RUN, [RUN, "python3", "-c", CATCHER], rootfs)
    seen = b""
    while b"up" not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    try:
        while True:
            seen += os.read(terminal, 1000)
    except OSError:  # the terminal's other end is closed
        pass
    assert seen.count(b"caught 2") == 1
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 42


def test_the_command_dies_with_a_killed_run(rootfs):
    run = subprocess.Popen([RUN, "sh", "-c", "echo $$; exec sleep 30"], env=rootfs, stdout=subprocess.PIPE, universal_newlines=True)
    command = int(run.stdout.readline())
    os.kill(command, 0)
    run.kill()
    run.wait()
    wait_until(lambda: not os.path.exists("/proc/%d" % command) or "Z" in open("/proc/%d/stat" % command).read())


def test_entering_is_fast(rootfs):
    def seconds():  # of processor time, since other work on the machine would count in the clock's
        before = os.times()
        call([RUN, "true"], rootfs)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(10)) < 0.1


def test_the_rootfs_has_each_package_of_the_list(rootfs):
    database = os.path.join(os.environ["FER_LITE_PLACE"], "var/lib/dpkg")
    query = ["dpkg-query", "--admindir=" + database, "-W", "-f", "${db:Status-Abbrev}\n"] + packages()
    assert call(query, rootfs).stdout.split() == ["ii"] * len(packages())


def test_the_blas_is_openblas(rootfs):
    code = "from engines import doctor; doctor.imported(); print(doctor.blas())"
    result = call([RUN, "python3", "-c", code], dict(rootfs, OPENBLAS_NUM_THREADS="1"))
    assert re.match(r"OpenBLAS 0\.3\.\d+ for \w+, threads: 1, ", result.stdout), result


# ---------------------------------------------------------------- making it, with programs of our own


FAKES = {
    # A root of two files; one line a stage; FAKE_FAIL makes it fail half-way (1, or from the mirrors it names, "-" being
    # Debian's own), FAKE_SLEEP slow.
    "mmdebstrap": """
        [ "$1" != --unshare-helper ] || exit 0
        echo "I: downloading packages with apt..." >&2
        mkdir -p "$TMPDIR/mmdebstrap.x/bin" "$TMPDIR/mmdebstrap.x/usr/bin" "$TMPDIR/mmdebstrap.x/etc" "$TMPDIR/mmdebstrap.x/lib"
        head -c 40000 /dev/zero >"$TMPDIR/mmdebstrap.x/usr/zeros"
        tar -C "$TMPDIR/mmdebstrap.x" -b 1 -c ./bin ./usr | head -c -1024  # the end is still to come
        sleep "${FAKE_SLEEP:-0}"
        case " ${FAKE_FAIL:-} " in " 1 " | *" ${!#} "*) echo "E: Failed to fetch InRelease: no network" >&2; exit 1 ;; esac
        echo "I: installing remaining packages inside the chroot..." >&2
        printf "%s" "${FAKE_DEBS:-}" >"$TMPDIR/mmdebstrap.x/debian.sha256"
        tar -C "$TMPDIR/mmdebstrap.x" -c ./etc ./lib ./debian.sha256""",
    # What follows the options is run here; the shell of the real one begins it.
    "bwrap": """
        while [ "$1" != /bin/bash ] && [ "$1" != true ]; do [ "$1" != --new-session ] || session=setsid; shift; done
        exec ${session:-} "$@" """,
    "docker": """
        case "$1 ${2:-}" in
          "info "*) [ -z "${FAKE_NO_ENGINE:-}" ] ;;
          "image inspect") [ -e "$FAKES/image" ] ;;
          "build "*) tar -t >"$FAKES/context"; [ -z "${FAKE_FAIL:-}" ] || { echo "no such image"; exit 1; }; touch "$FAKES/image" ;;
          "run "*) ;;
        esac""",
    "conda": """
        [ -z "${FAKE_FAIL:-}" ] || { echo "PackagesNotFoundError: caffe" >&2; exit 1; }
        while [ "$1" != -p ]; do shift; done
        mkdir -p "$2/bin"; printf '#!/bin/sh\\nexit ${FAKE_WRONG:-0}\\n' >"$2/bin/python3"; chmod +x "$2/bin/python3" """,
    "apt-get": """
        [ "$1" != install ] || for name; do
          case $name in bubblewrap) name=bwrap ;; esac
          [ ! -e "$FAKES/store/$name" ] || cp "$FAKES/store/$name" "$FAKES/bin/"
        done""",
    "python3": "exit 1",  # no Caffe in the system's
}


class Machine:
    """A checkout with a cache of its own, on a machine whose programs are the basic ones and those of ours given."""

    def __init__(self, folder, *programs):
        self.folder, self.bin, self.cache = folder, folder / "bin", folder / "cache"
        self.checkout, self.store = self.clone("checkout"), folder / "store"
        self.bin.mkdir()
        self.store.mkdir()
        basic = (
            "bash sh env cat cut sha256sum cksum sed xargs tr tar chmod mkdir rm mv dirname touch flock id uname grep "
            "echo head setsid tail awk sleep readlink timeout sort cp basename kill ln true"
        ).split()
        for name in basic:
            (self.bin / name).symlink_to(shutil.which(name))
        for name in FAKES:
            self.fake(self.store, name)
        for name in ("python3",) + programs:
            shutil.copy(str(self.store / name), str(self.bin))

    def clone(self, name):
        """Another checkout: env/ and what it reads, with a doctor that looks at FAKE_WRONG only."""
        checkout = self.folder / name
        shutil.copytree(os.path.join(REPO, "env"), str(checkout / "env"), ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("Dockerfile", "environment.yml"):
            shutil.copy(os.path.join(REPO, file), str(checkout))
        (checkout / "engines").mkdir()
        (checkout / "engines" / "__init__.py").write_text("")
        (checkout / "engines" / "doctor.py").write_text("import os, sys\nsys.exit(int(os.environ.get('FAKE_WRONG', 0)))\n")
        return checkout

    def fake(self, folder, name):
        program = folder / name
        log = 'for word; do printf "%%s\\\\n" "$word"; done >>"$FAKES/%s.log"\n' % name
        program.write_text("#!/bin/bash\n" + log + FAKES[name].strip() + "\n")
        program.chmod(0o755)

    def variables(self, **more):
        return dict(
            {"PATH": str(self.bin), "HOME": str(self.folder), "FER_LITE_CACHE": str(self.cache), "TMPDIR": str(self.folder), "FAKES": str(self.folder)}, **more
        )

    def run(self, *arguments, checkout=None, before=(), **more):
        command = list(before) + [str((checkout or self.checkout) / "env" / "run")] + list(arguments)
        return call(command, self.variables(**more), checkout or self.checkout)

    def start(self, *arguments, **more):
        return subprocess.Popen(
            [str(self.checkout / "env" / "run")] + list(arguments),
            env=self.variables(**more),
            stderr=subprocess.PIPE,
            universal_newlines=True,
            start_new_session=True,
        )

    def calls(self, name):
        """The words that the program was called with, over all calls."""
        log = self.folder / (name + ".log")
        return log.read_text().split("\n")[:-1] if log.exists() else []

    def made(self):
        return sorted(path.name for path in self.cache.glob("rootfs-*") if path.is_dir())

    def rest(self):
        """What builds leave where mmdebstrap works."""
        return list(self.folder.glob("fer-lite-*"))


def debian(folder):
    return Machine(folder, "mmdebstrap", "bwrap")


def wait_until(condition, seconds=10):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain"
        time.sleep(0.02)


def packages(checkout=REPO):
    with open(os.path.join(str(checkout), "env", "packages")) as f:
        return [line.split("#")[0].strip() for line in f if line.split("#")[0].strip()]


def one_line(result, *words):
    """The run failed with exactly one line, which begins with error: and holds these words."""
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture(autouse=True)
def keyring():
    if not os.path.exists("/usr/share/keyrings/debian-archive-keyring.gpg"):
        pytest.skip("no Debian keyring on this machine")


def test_a_rootfs_is_made_once_from_the_list(tmp_path):
    machine = debian(tmp_path)
    first = machine.run("sh", "-c", "exit 3")
    assert first.returncode == 3
    assert "installing remaining packages" in first.stderr and "rootfs-" in first.stderr
    (name,) = machine.made()
    assert re.match("rootfs-[0-9a-f]{12}$", name)
    words = machine.calls("mmdebstrap")
    assert "--include=" + ",".join(packages()) in words and "bullseye" in words
    again = machine.run("sh", "-c", "exit 4")
    assert (again.returncode, again.stderr) == (4, "")
    assert machine.calls("mmdebstrap") == words
    assert machine.rest() == []


def test_make_says_in_one_line_which_and_where(tmp_path):
    machine = debian(tmp_path)
    machine.run("--make")
    again = machine.run("--make")
    assert again.stderr == "environment: rootfs, %s\n" % (machine.cache / machine.made()[0])
    assert machine.run("--which").stdout == "rootfs\n"


def test_another_checkout_finds_it(tmp_path):
    machine = debian(tmp_path)
    machine.run("--make")
    other = machine.clone("another checkout")
    result = machine.run("sh", "-c", "exit 5", checkout=other)
    assert (result.returncode, result.stderr) == (5, "")


def test_another_list_makes_another_and_removes_the_older_one_and_nothing_else(tmp_path):
    machine = debian(tmp_path)
    machine.run("--make")
    (old,) = machine.made()
    others = [machine.cache / "rootfs-backup", machine.cache / "something"]
    for other in others:
        other.mkdir()
    with open(str(machine.checkout / "env" / "packages"), "a") as f:
        f.write("git  # one more\n")
    assert machine.run("--make").returncode == 0
    assert not (machine.cache / old).exists() and all(other.exists() for other in others)
    assert [word for word in machine.calls("mmdebstrap") if word.endswith(",git")]


def test_an_older_one_in_which_something_runs_stays(tmp_path):
    machine = debian(tmp_path)
    machine.run("--make")
    (old,) = machine.made()
    running = machine.start("sleep", "30")
    wait_until(lambda: held(machine.cache / old))
    (machine.checkout / "env" / "packages").write_text("caffe  # less\n")
    machine.run("--make")
    assert len(machine.made()) == 2
    running.terminate()
    running.communicate(timeout=10)
    assert running.returncode == 128 + signal.SIGTERM


def held(folder):
    handle = os.open(str(folder), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def test_a_failed_build_is_one_line_with_the_log_and_leaves_nothing(tmp_path):
    machine = debian(tmp_path)
    result = machine.run("true", FAKE_FAIL="1")
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "E: Failed to fetch InRelease: no network" in last
    log = re.search(r"log (\S+)\)$", last).group(1)
    assert "no network" in open(log).read()
    assert machine.made() == [] and machine.rest() == []
    assert machine.run("true").returncode == 0


def test_a_rootfs_whose_caffe_the_doctor_refuses_is_not_used(tmp_path):
    machine = debian(tmp_path)
    assert machine.run("true", FAKE_WRONG="1").returncode == 1
    assert not [name for name in machine.made() if not name.endswith(".part")]


def test_a_killed_build_is_made_again_and_its_rest_removed(tmp_path):
    machine = debian(tmp_path)
    run = machine.start("true", FAKE_SLEEP="30")
    wait_until(lambda: [path for path in machine.cache.glob("*.part/usr")])
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert machine.made() and machine.rest()  # the half of it, which nothing may take for a whole
    assert machine.run("true").returncode == 0
    assert len(machine.made()) == 1 and not machine.made()[0].endswith(".part")
    assert machine.rest() == []


def test_two_at_once_make_one(tmp_path):
    machine = debian(tmp_path)
    runs = [machine.start("--make", FAKE_SLEEP="1") for _ in range(2)]
    output = [run.communicate(timeout=30)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert "waiting for another run" in "".join(output)
    assert machine.calls("mmdebstrap").count("bullseye") == 1 and len(machine.made()) == 1


def test_packages_of_other_hashes_are_said(tmp_path):
    machine = debian(tmp_path)
    known = "%064d  caffe_1_all.deb\n" % 1
    (machine.checkout / "env" / ("debian-%s.sha256" % os.uname().machine)).write_text(known)
    other = machine.run("--make", FAKE_DEBS=known + "%064d  caffe_2_all.deb" % 2)
    assert other.returncode == 0 and other.stderr.count("note: 1 packages") == 1 and "caffe_2_all.deb" in other.stderr
    assert (machine.cache / machine.made()[0] / "debian.sha256").read_text().startswith(known)
    shutil.rmtree(str(machine.cache))
    assert "note:" not in machine.run("--make", FAKE_DEBS=known.strip()).stderr


def test_the_list_of_hashes_has_each_package():
    with open(os.path.join(REPO, "env", "debian-x86_64.sha256")) as f:
        files = [re.fullmatch(r"[0-9a-f]{64}  ([a-z0-9.+-]+)_[^_ ]+_(?:amd64|all)\.deb", line.rstrip("\n")).group(1) for line in f]
    assert set(packages()) <= set(files) and len(files) == len(set(files))


def test_debian_mirror_is_passed_on(tmp_path):
    machine = debian(tmp_path)
    machine.run("--make", DEBIAN_MIRROR="http://mirror.example/debian")
    assert machine.calls("mmdebstrap")[-2:] == ["-", "http://mirror.example/debian"]


def test_where_debian_has_it_no_longer_its_archive_is_asked_and_then_the_dated_snapshot(tmp_path):
    archive, snapshot = sources()
    machine = debian(tmp_path)
    result = machine.run("--make", FAKE_FAIL="- " + archive)
    assert result.returncode == 0, result.stderr
    words = machine.calls("mmdebstrap")
    assert [after for word, after in zip(words, words[1:] + ["end"]) if word == "-"] == ["--variant=apt", archive, snapshot]
    assert [line.split()[-1] for line in result.stderr.splitlines() if "trying" in line] == [archive, snapshot]
    assert words.count('--aptopt=Acquire::Check-Valid-Until "false"') == 2  # the date alone: whose word it is stays verified
    assert not [word for word in words if re.search("trusted|AllowUnauth|AllowInsecure|no-check", word, re.I)]
    assert len(machine.made()) == 1 and machine.rest() == []


def test_debian_mirror_is_the_only_one_asked(tmp_path):
    machine = debian(tmp_path)
    assert machine.run("--make", DEBIAN_MIRROR="http://mirror.example/debian", FAKE_FAIL="1").returncode == 1
    assert machine.calls("mmdebstrap").count("bullseye") == 1


def sources():
    with open(os.path.join(REPO, "env", "sources")) as f:
        return [line.strip() for line in f if not line.startswith("#")]


def test_root_installs_the_missing_programs(tmp_path):
    machine = Machine(tmp_path, "apt-get")
    as_root = ["bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--dev-bind", "/", "/"]
    skip_unless(as_root)
    result = machine.run("--make", before=[shutil.which("bwrap")] + as_root[1:])
    assert result.returncode == 0, result.stderr
    words = machine.calls("apt-get")
    assert words[0] == "update" and words[-2:] == ["bubblewrap", "mmdebstrap"] and "-y" in words


def test_a_user_is_told_the_one_line_that_is_missing(tmp_path):
    machine = Machine(tmp_path, "apt-get")
    as_user = ["bwrap", "--unshare-user", "--uid", "4321", "--gid", "4321", "--dev-bind", "/", "/"]
    skip_unless(as_user)
    result = machine.run("--make", before=[shutil.which("bwrap")] + as_user[1:])
    one_line(result, "sudo apt-get install bubblewrap mmdebstrap uidmap")
    assert machine.calls("apt-get") == []


def skip_unless(command):
    if not shutil.which("bwrap") or subprocess.call(command + ["true"], stderr=subprocess.DEVNULL):
        pytest.skip("bubblewrap cannot be nested here")


def test_where_there_is_no_apt_get(tmp_path):
    one_line(Machine(tmp_path).run("--make"), "install these with this system's package manager", "mmdebstrap")


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    machine = debian(tmp_path)
    one_line(machine.run("true", FER_LITE_CACHE=str(tmp_path / "file" / "cache")), "FER_LITE_CACHE")


def test_a_provider_that_is_none_and_one_that_is_not_there(tmp_path):
    machine = debian(tmp_path)
    one_line(machine.run("true", CAFFE_ENV="podman"), "CAFFE_ENV=podman", "system docker conda rootfs auto")
    one_line(machine.run("true", CAFFE_ENV="system"), "CAFFE_ENV=system", "cannot import caffe")
    one_line(machine.run("true", CAFFE_ENV="docker"), "docker info")
    one_line(machine.run("true", CAFFE_ENV="conda"), "micromamba")


def test_without_a_command_it_tells_its_use(tmp_path):
    machine = debian(tmp_path)
    for arguments in ([], ["--help"]):
        result = machine.run(*arguments)
        assert result.returncode == 2 and "env/run CMD..." in result.stderr


def test_auto_takes_the_first_that_is_there_or_can_be_made(tmp_path):
    machine = Machine(tmp_path, "mmdebstrap", "bwrap", "docker", "conda")
    assert machine.run("--which").stdout == "docker\n"
    assert machine.run("--which", FAKE_NO_ENGINE="1").stdout == "conda\n"
    (machine.bin / "conda").unlink()
    assert machine.run("--which", FAKE_NO_ENGINE="1").stdout == "rootfs\n"
    (machine.bin / "python3").write_text("#!/bin/sh\nexit ${FAKE_WRONG:-0}\n")  # imports caffe
    assert machine.run("--which").stdout == "system\n"
    assert machine.run("--make").stderr == "environment: system, %s\n" % (machine.bin / "python3")


def test_auto_passes_over_what_cannot_be_made(tmp_path):
    machine = Machine(tmp_path, "mmdebstrap", "bwrap", "docker", "conda")
    (machine.bin / "python3").write_text('#!/bin/sh\n[ "$1" = -c ]\n')  # imports caffe, but the doctor refuses it
    result = machine.run("--make", FAKE_FAIL="1")
    assert result.returncode == 1
    for provider, problem in [("docker", "no such image"), ("conda", "PackagesNotFoundError: caffe")]:
        assert re.search("error: .*%s.*log .*\n%s cannot be used: trying the next" % (problem, provider), result.stderr)
    assert "system cannot be used" in result.stderr
    assert "error: the rootfs could not be made" in result.stderr.splitlines()[-1]


def test_auto_asks_the_engine_only_when_it_chooses(tmp_path):
    machine = Machine(tmp_path, "docker")
    machine.run("--make")
    asked = machine.calls("docker").count("info")
    machine.run("true")
    assert machine.calls("docker").count("info") == asked > 0


# ---------------------------------------------------------------- docker and conda: no engine runs here


def test_docker_as_called_with_a_fake_docker(tmp_path):
    """Only the arguments are checked: a program of ours stands for docker."""
    machine = Machine(tmp_path, "docker")
    assert machine.run("--make", CAFFE_ENV="docker").returncode == 0
    image = "fer-lite:" + digest(machine.checkout, "Dockerfile", "env/packages", "env/sources")
    words = machine.calls("docker")
    assert words[words.index("build") :][:4] == ["build", "-t", image, "-"]
    assert (tmp_path / "context").read_text().split() == ["Dockerfile", "env/packages", "env/sources"]

    (tmp_path / "docker.log").unlink()
    machine.run("echo", "two words", CAFFE_ENV="docker", OPENBLAS_NUM_THREADS="2", PYTHONPATH="/nonsense")
    words = machine.calls("docker")
    words = words[words.index("run") :]
    assert words[-3:] == [image, "echo", "two words"]
    options = words[1:-3]
    pairs = set(zip(options, options[1:]))
    assert {"--rm", "--init", "-i"} < set(options) and "-t" not in options
    assert ("-u", "%d:%d" % (os.getuid(), os.getgid())) in pairs and ("-w", str(machine.checkout)) in pairs
    mounted = {value for option, value in pairs if option == "-v"}
    assert {"%s:%s" % (folder, folder) for folder in ("/tmp", "/home", machine.checkout)} <= mounted
    assert not mounted & {"%s:%s" % (folder, folder) for folder in ("/usr", "/etc", "/lib", "/var")}
    passed = {value for option, value in pairs if option == "-e"}
    assert {"OPENBLAS_NUM_THREADS", "HOME", "FER_LITE_ENV"} <= passed and not passed & {"PATH", "PYTHONPATH"}


def test_conda_as_called_with_a_fake_conda(tmp_path):
    """Only the arguments and the handling of a half-made prefix are checked: a program of ours stands for conda."""
    machine = Machine(tmp_path, "conda")
    prefix = machine.cache / ("conda-" + digest(machine.checkout, "environment.yml"))
    (prefix / "half").mkdir(parents=True)
    result = machine.run("--make", CAFFE_ENV="conda")
    assert result.stderr.splitlines()[-1] == "environment: conda, %s" % prefix
    assert machine.calls("conda") == ["env", "create", "-q", "-p", str(prefix), "-f", str(machine.checkout / "environment.yml")]
    assert not (prefix / "half").exists()
    result = machine.run("sh", "-c", 'echo "$CONDA_PREFIX" "${PATH%%:*}"; exit 6', CAFFE_ENV="conda")
    assert (result.returncode, result.stdout.split()) == (6, [str(prefix), str(prefix / "bin")])


def test_a_conda_prefix_whose_caffe_is_wrong_is_not_complete(tmp_path):
    machine = Machine(tmp_path, "conda")
    assert machine.run("--make", CAFFE_ENV="conda", FAKE_WRONG="1").returncode == 1
    assert machine.run("true", CAFFE_ENV="conda", FAKE_WRONG="1").returncode == 1


def digest(checkout, *names):
    return hashlib.sha256(b"".join((checkout / name).read_bytes() for name in names)).hexdigest()[:12]


# ---------------------------------------------------------------- the files


def test_each_package_stands_once_with_its_reason():
    with open(os.path.join(REPO, "env", "packages")) as f:
        lines = [line for line in f if line.strip() and not line.startswith("#")]
    assert all(re.match(r"[a-z0-9.+-]+ +# \w.+", line) for line in lines)
    assert len(packages()) == len(set(packages())) >= 10
    assert {"caffe", "python3-caffe", "libopenblas0-pthread"} < set(packages())


def test_the_dockerfile_installs_the_list_and_nothing_else():
    text = open(os.path.join(REPO, "Dockerfile")).read()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert re.findall(r"^FROM (.*)$", text, re.M) == ["debian:bullseye"]
    (folder,) = re.findall(r"^COPY env/packages env/sources (\S+/)$", text, re.M)
    install = re.search(
        r"sed 's/#\.\*//' (\S+) \\\n *\| DEBIAN_FRONTEND=noninteractive xargs apt-get install -y "
        r"--no-install-recommends \\\n",
        text,
    )
    assert install and install.group(1) == folder + "packages" and folder + "sources" in text
    assert text.count("apt-get install") == 1
    with open(os.path.join(REPO, "env", "packages")) as f:  # what sed and xargs make of the list
        words = subprocess.run("sed 's/#.*//' | xargs", shell=True, stdin=f, stdout=subprocess.PIPE).stdout
    assert words.decode().split() == packages()


def test_environment_yml_names_the_caffe_of_conda_forge():
    yaml = pytest.importorskip("yaml")
    with open(os.path.join(REPO, "environment.yml")) as f:
        described = yaml.safe_load(f)
    assert described["channels"] == ["conda-forge", "nodefaults"]
    assert {"python=3.8", "caffe=1.0=*_210", "libprotobuf=3.12", "python-lmdb"} < set(described["dependencies"])
    assert all(re.match(r"[a-z0-9-]+(=[^ =]+){0,2}$", entry) for entry in described["dependencies"])


def test_environment_yml_has_what_the_rootfs_has():
    other = {"protobuf": "protobuf", "sklearn": "scikit-learn", "lmdb": "python-lmdb", "matplotlib": "matplotlib-base"}
    with open(os.path.join(REPO, "environment.yml")) as f:
        there = re.findall(r"^  - ([a-z0-9-]+)", f.read(), re.M)
    for name in packages():
        if name.startswith("python3-"):
            assert other.get(name[8:], name[8:]) in there


def test_the_only_hosts_written_down_are_debians_archive_and_its_snapshots():
    assert [source.split("/")[2] for source in sources()] == ["archive.debian.org", "snapshot.debian.org"]
    assert re.search(r"/\d{8}T\d{6}Z$", sources()[1])
    for name in ("Dockerfile", "environment.yml", "env/run", "env/rootfs.sh", "env/make_rootfs", "env/packages"):
        with open(os.path.join(REPO, name)) as f:
            assert "://" not in f.read(), name
