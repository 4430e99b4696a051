"""What is special to jobs that are forked from a zygote: what they share and what not, and when they run cold."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from backends.zygote.warm_bench import COMMAND, PYTHON, Make, compare, maker, notes, opened, out, zygotes
from conftest import with_tag

pytestmark = [
    pytest.mark.skipif(not (hasattr(os, "pidfd_open") and hasattr(select, "epoll")), reason="launchers need Linux"),
    pytest.mark.usefixtures("nothing_left"),
]
TAG = f"MH_TAG=zygote{os.getpid()}."


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes backends for a script of this source."""
    with maker(tmp_path) as made:
        yield made


# -- what a job gets -----------------------------------------------------------------------------------------------------


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("flags", "environment"),
    [
        ("-O", {}),
        ("-OO", {}),
        ("-u", {}),
        ("-B", {}),
        ("-I", {}),
        ("-E -s", {}),
        ("-S", {}),
        ("-b", {}),
        ("-W error", {}),
        ("-W ignore", {}),
        ("-X utf8", {}),
        ("-X dev", {}),
        ("-Xfaulthandler", {}),
        ("-X importtime", {b"COLD": b"1"}),
        ("", {b"PYTHONUNBUFFERED": b"1"}),
        ("", {b"PYTHONIOENCODING": b"latin-1:replace"}),
        ("", {b"PYTHONHASHSEED": b"7"}),
        ("", {b"PYTHONSAFEPATH": b"1"}),
        ("", {b"PYTHONOPTIMIZE": b"1"}),
        ("", {b"PYTHONWARNINGS": b"error"}),
        ("", {b"PYTHONPATH": b"/no/such"}),
        ("", {b"LC_ALL": b"C"}),
        ("", {b"OWN": b"value"}),
    ],
)
def test_options_of_the_interpreter_and_the_environment(
    flags: str, environment: dict[bytes, bytes], tmp_path: Path
) -> None:
    """Are those of the zygote, too: a script sees, and does, the same as in an interpreter of its own."""
    (tmp_path / "script.py").write_text(
        "import sys, warnings, os, json\n"
        "print(sys.flags, sys.path, sys.warnoptions, sys._xoptions, getattr(sys, 'orig_argv', None), __debug__)\n"
        "print(sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors, sys.stdout.write_through, sys.getfilesystemencoding())\n"
        "print(os.environ.get('OWN'), hash('a') if 'PYTHONHASHSEED' in os.environ else '')\n"
        "warnings.warn('w')\n"
        "sys.stdout.write('no newline'); os._exit(3)\n"
    )
    if environment.pop(b"COLD", None):
        bench = opened(tmp_path, f"{PYTHON} {flags} script.py", environment=environment)
        bench.run()
        bench.backend.close()
        assert "prints something" in notes(bench)[0]
    else:
        compare(tmp_path, f"{PYTHON} {flags} script.py", ("a",), ("b",), environment=environment)


@pytest.mark.parametrize(
    "target", ["tool", "package", "package.tool", "package.failing", "json.tool", "no_such_module", "os"]
)
def test_a_module(target: str, tmp_path: Path) -> None:
    """`python -m`: of its own or installed, a package, one that fails or is not there."""
    (tmp_path / "package").mkdir()
    says = "import sys, os\nfrom . import tool as t\n" if target.startswith("package") else "import sys, os\n"
    says += "print(__name__, __package__, __spec__.name, __file__, sys.argv, sys.path[0] == os.getcwd())\n"
    (tmp_path / "tool.py").write_text(says)
    (tmp_path / "package" / "__init__.py").write_text("print('package')\n")
    (tmp_path / "package" / "__main__.py").write_text(says)
    (tmp_path / "package" / "tool.py").write_text("import sys\nprint(__name__, __spec__.name, sys.argv)\n")
    (tmp_path / "package" / "failing.py").write_text("def f(): 1 / 0\nf()\n")
    compare(tmp_path, f"{PYTHON} -m {target}", ("no-such-file", "b c"), ("--help",))


def test_standard_input_is_read_from_its_beginning_by_each_job(make: Make, tmp_path: Path) -> None:
    """A file that is given to all, or nothing."""
    (tmp_path / "given").write_text("one\ntwo\n")
    source = "import sys; print(repr(sys.stdin.readline()), repr(sys.stdin.read()))"
    bench = make(source, stdin=tmp_path / "given")
    assert [out(bench) for _ in range(3)] == [r"'one\n' 'two\n'"] * 3
    assert out(make(source)) == "'' ''"


def test_nothing_of_a_job_is_left_for_the_next(make: Make) -> None:
    """Its modules, environment, folder, files, signals, streams and random numbers are its own."""
    bench = make(
        """
        import json, os, random, signal, sys, threading
        seen = [os.getcwd(), os.environ.get("LEFT"), getattr(json, "left", None), signal.getsignal(signal.SIGTERM), os.umask(0o22)]
        seen += [sys.path[-1], len(os.listdir("/proc/self/fd")), sys.stdout.write_through, threading.active_count()]
        print(*seen)
        os.environ["LEFT"] = "x"; json.left = 1; os.chdir("/"); signal.signal(signal.SIGTERM, signal.SIG_IGN); os.umask(0)
        sys.path.append("left"); open("/dev/null").fileno(); os.dup(1); sys.stdout.reconfigure(write_through=True)
        threading.Thread(target=print, args=("thread",)).start()
        """
    )
    first, *others = [out(bench, "a") for _ in range(4)]
    assert others == [first] * 3


def test_random_numbers_differ(make: Make) -> None:
    """`random`, numpy's global generator, uuid, tempfile, and the key by which multiprocessing knows its own."""
    bench = make(
        """
        import random, uuid, tempfile, multiprocessing.process, numpy.random
        print(random.random(), numpy.random.rand(), uuid.uuid4(), uuid.uuid1(), next(tempfile._get_candidate_names()),
              bytes(multiprocessing.process.current_process().authkey))
        """
    )
    drawn = [out(bench).split(" ", 5) for _ in range(3)]
    assert all(len(set(column)) == 3 for column in zip(*drawn, strict=True))


def test_what_differs_from_a_cold_start(make: Make, tmp_path: Path) -> None:
    """Text has the same hash in all jobs, the parent is the zygote, imported modules are there, one frame lies below the script's."""
    (tmp_path / "counted.py").write_text("import os\nNUMBER = os.getpid()\n")
    bench = make(
        """
        import os, sys, json
        print(hash("text"), os.getppid(), sys._getframe().f_back is not None, sys._getframe().f_back.f_back, "counted" in sys.modules)
        import counted
        print(counted.NUMBER)
        """,
        preload=("counted",),
    )
    one, other = out(bench), out(bench)
    assert one == other
    zygote = zygotes()[0].pid
    words = one.split()
    assert words[1:] == [str(zygote), "True", "None", "True", str(zygote)]


def test_processes_are_shown_as_what_they_are(make: Make) -> None:
    """The command line and MH_TAG that the kernel shows are the job's, so ps and the search for daemons find it."""
    bench = make("import time; print('up', flush=True); time.sleep(60)")
    attempt = bench.start("a b", "c")
    process = psutil.Process(bench.start_of(attempt).pid)
    assert " ".join(process.cmdline()) == f"{COMMAND} a b c"
    assert [one.pid for one in with_tag(f"{TAG}1.1")] == [process.pid]
    long = bench.start("x" * 5000)
    bench.backend.stop([attempt])
    process = psutil.Process(bench.start_of(long).pid)
    assert " ".join(process.cmdline()).startswith(f"{COMMAND} xxx")
    bench.backend.stop([long])
    assert bench.end_of(long).ending.signal == signal.SIGTERM


def test_a_daemon_of_a_job_is_found_and_ended(make: Make) -> None:
    """Although it never was a program of its own: by its MH_TAG."""
    bench = make(
        """
        import os, time
        if os.fork(): os._exit(0)
        os.setsid()
        if os.fork(): os._exit(0)
        time.sleep(60)
        """
    )
    ending = bench.run().ending
    assert (ending.exit, ending.leftovers >= 1) == (0, True)
    assert with_tag(f"{TAG}1.1") == []


def test_times_and_memory_are_the_jobs_own(make: Make) -> None:
    """CPU time from its fork on; the peak of memory includes what is imported for it."""
    bench = make("import time\nx = bytearray(50_000_000)\nwhile time.process_time() < 0.2: pass\n")
    ending = bench.run().ending
    assert 0.15 < ending.user + ending.system < 5
    assert 50_000_000 < ending.max_rss < 200_000_000


def test_no_descriptor_is_left_in_a_job(make: Make) -> None:
    """Also of programs that it starts, after many jobs."""
    source = "import os, subprocess; print(sorted(os.listdir('/proc/self/fd')), subprocess.run(['ls', '/proc/self/fd'], capture_output=True, text=True).stdout.split())"
    bench = make(source, slots=3)
    printed = {bench.end_of(one).ending.stdout.data for one in [bench.start(str(n)) for n in range(12)]}
    assert printed == {b"['0', '1', '2', '3'] ['0', '1', '2', '3']\n"}
    assert len(os.listdir(f"/proc/{zygotes()[0].pid}/fd")) == 4


def test_a_job_can_be_given_many_arguments(make: Make) -> None:
    """More than fit into the buffer of a socket."""
    bench = make("import sys, json; print(json.dumps([len(sys.argv), sum(map(len, sys.argv[1:]))]))")
    assert json.loads(out(bench, *["x" * 100_000] * 12)) == [13, 1_200_000]


# -- a script that changes -----------------------------------------------------------------------------------------------


def test_a_script_that_changes_between_jobs_is_read_again(make: Make, tmp_path: Path) -> None:
    """Also a module of its own, one that is replaced by a rename, one that is wrong for a while, one that is gone for a while."""
    bench = make("import own; print('one', own.X)", environment={b"PYTHONDONTWRITEBYTECODE": b"1"})
    script, own = tmp_path / "script.py", tmp_path / "own.py"
    own.write_text("X = 1")
    assert out(bench) == "one 1"
    script.write_text("import own; print('two', own.X)")
    own.write_text("X = 22")
    assert out(bench) == "two 22"
    (tmp_path / "new.py").write_text("import own, colorsys; print('new', own.X)")
    (tmp_path / "new.py").rename(script)
    assert out(bench) == "new 22"
    script.write_text("if:")
    assert b"SyntaxError" in bench.run().ending.stderr.data
    script.unlink()
    ending = bench.run().ending
    assert ending.exit == 2
    assert b"can't open file" in ending.stderr.data
    script.write_text("print('again')")
    assert out(bench) == "again"


def test_what_the_first_job_imports_late_is_there_for_the_next(make: Make) -> None:
    """Modules of the standard library, and of packages that are imported anyway, but none of the folder of the script."""
    bench = make(
        """
        import sys
        def late():
            import colorsys, own, xml.dom.minidom
        before = [name for name in ("colorsys", "own", "xml.dom.minidom") if name in sys.modules]
        late(); print(before)
        """
    )
    (Path(bench.backend.settings.workdir) / "own.py").touch()  # type: ignore[attr-defined]
    assert [out(bench) for _ in range(3)] == ["[]", "['colorsys', 'xml.dom.minidom']", "['colorsys', 'xml.dom.minidom']"]


def test_each_job_begins_with_the_same_modules(make: Make) -> None:
    """What the zygote itself does between two jobs imports nothing: a job would end slowly, because it would take that for its own."""
    bench = make("import sys; print(*sorted(sys.modules))")
    first, *others = [out(bench) for _ in range(4)]
    assert others == [first] * 3


@pytest.mark.parametrize(
    "source",
    [
        "import sys\ndef late():\n    sys.path.insert(0, 'lib')\n    import colorsys; print(colorsys.MINE)\nlate()",
        "import sys; sys.path.insert(0, 'lib'); import colorsys; print(colorsys.MINE)",
        "import sys\ndef add(): sys.path.insert(0, 'lib')\nadd()\nimport colorsys; print(colorsys.MINE)",
        "import sys\nif True: sys.path[:0] = ['lib']\ntry: import colorsys\nfinally: print(colorsys.MINE)",
    ],
)
def test_a_script_that_finds_modules_elsewhere_finds_its_own(make: Make, tmp_path: Path, source: str) -> None:
    """Also if one of the library has that name; what it imports before is imported once."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "colorsys.py").write_text("MINE = True")
    bench = make(source)
    assert [out(bench) for _ in range(3)] == ["True"] * 3
    assert notes(bench) == []


def test_the_zygote_does_not_grow(make: Make) -> None:
    """It collects no garbage, so it must make none; each page that it writes to is copied for each job."""
    bench = make("")
    sizes = []
    for _ in range(3):
        for _ in range(100):
            out(bench)
        (zygote,) = zygotes()
        sizes.append(zygote.memory_full_info().uss)
    assert sizes[2] - sizes[1] < 100_000, sizes


def test_a_module_of_the_script_may_be_called_resource(make: Make, tmp_path: Path) -> None:
    """os.wait4 of Python imports the one of the library."""
    (tmp_path / "resource.py").write_text("MINE = True")
    bench = make("import resource; print(resource.MINE)")
    assert [out(bench) for _ in range(3)] == ["True"] * 3
    assert notes(bench) == []


# -- when jobs run cold --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
            "starts a thread",
        ),
        ("import _thread, time\n_thread.start_new_thread(time.sleep, (60,))", "starts threads (python"),
        ("print('hello')", "prints something"),
        ("import sys; sys.stderr.write('hello')", "prints something"),
        ("import os; os.write(1, b'hello')", "prints something"),
        ("import socket; s = socket.socket()", "opens socket:"),
        ("f = open(__file__)", "which all jobs would share"),
        ("import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "when a child ends"),
        ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("raise SystemExit(3)", "cannot be imported (SystemExit: 3)"),
        ("import os; os._exit(4)", "what it imports ends the interpreter (status 4)"),
        ("import os; os.kill(os.getpid(), 9)", "what it imports ends the interpreter (signal 9)"),
        ("import os; os.chdir('/')", "changes the working folder"),
        ("import sys; sys.stdin.readline()", "reads standard input"),
        ("import signal; signal.alarm(60)", "sets a timer"),
        ("import subprocess; process = subprocess.Popen(['sleep', '60'])", "starts a process"),
        ("import os; os.fork()", "starts a process"),
        ("import sys; sys.stdout.close()", "breaks the interpreter (ValueError: I/O operation on closed file.)"),
        (
            "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))",
            "leaves no room for the standard streams",
        ),
    ],
)
def test_jobs_run_cold_where_a_fork_is_not_known_to_be_safe(make: Make, tmp_path: Path, module: str, why: str) -> None:
    """With the reason, in one line; they run all the same."""
    (tmp_path / "unsafe.py").write_text(module)
    (tmp_path / "given").write_text("one\ntwo\n")
    source = "import os, sys; print('unsafe' in sys.modules, sys.argv)"
    bench = make(source, preload=("unsafe",), stdin=tmp_path / "given")
    assert [out(bench, "a"), out(bench, "b")] == ["False ['script.py', 'a']", "False ['script.py', 'b']"]
    (note,) = notes(bench)
    assert note.startswith("the jobs run cold: ")
    assert why in note
    assert "\n" not in note
    assert zygotes() == []


def test_threads_that_a_library_stops_for_a_fork_do_no_harm(make: Make) -> None:
    """numpy's OpenBLAS has some; each job can compute."""
    bench = make(
        "import numpy, os; a = numpy.ones((300, 300)); print((a @ a).sum(), len(os.listdir('/proc/self/task')) >= 1)"
    )
    assert [out(bench) for _ in range(3)] == ["27000000.0 True"] * 3
    assert notes(bench) == []


def test_a_file_beside_the_script_that_hides_a_module_makes_it_run_cold(make: Make, tmp_path: Path) -> None:
    """An import statement would find that one, in what is imported, too."""
    (tmp_path / "decimal.py").write_text("MINE = True")
    bench = make("import statistics")
    assert b"cannot import name" in bench.run().ending.stderr.data
    assert notes(bench) == ["the jobs run cold: decimal in the folder of the script hides a module of the library"]


def test_an_interpreter_that_is_none(make: Make, tmp_path: Path) -> None:
    """Its jobs fail as they would, and a program that only looks like one is told."""
    (tmp_path / "python3").write_text("#!/bin/sh\necho I am $2; exit 3\n")
    (tmp_path / "python3").chmod(0o755)
    bench = make("", command=f"{tmp_path}/python3 script.py")
    assert bench.run("a").ending.stdout.data == b"I am a\n"
    assert "ends the interpreter (status 3)" in notes(bench)[0]
    missing = make("", command="/no/such/python3 script.py")
    assert missing.run("a").ending.exit == 127
    assert "cannot start /no/such/python3" in notes(missing)[0]
