"""A script that is run warm prints, and exits with, what it does when it is run cold: each of a list is run in both ways."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from backends.zygote.warm_bench import PYTHON, compare

pytestmark = [
    pytest.mark.sampled,
    pytest.mark.skipif(not (hasattr(os, "pidfd_open") and hasattr(select, "epoll")), reason="launchers need Linux"),
    pytest.mark.usefixtures("nothing_left"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the script is, and runs, with modules of its own."""
    (tmp_path / "own_module.py").write_text(
        "VALUE = 41\nclass A:\n    def __del__(self): print('deleted', VALUE)\nkept = A()\n"
    )
    (tmp_path / "failing_module.py").write_text("def f():\n    raise KeyError('in a module')\nf()\n")
    return tmp_path


SCRIPTS: dict[str, str | bytes] = {
    "nothing": "",
    "identity": """
        import sys
        print(__name__, __file__, __doc__, __package__, __spec__, __loader__.path, __builtins__.__name__, sorted(globals()))
        print(sys.argv, sys.path, getattr(sys, "orig_argv", None), sys.executable, sys.flags)
        print(sys.modules["__main__"].__dict__ is globals(), list(globals()))
    """,
    "surroundings": """
        import os, signal, sys
        print(os.getcwd(), os.getpid() == os.getsid(0) == os.getpgrp(), sorted(map(int, os.listdir("/proc/self/fd"))))
        print({n: v for n, v in os.environ.items() if n.startswith("MH_") and n != "MH_TAG"}, sorted(os.environ))
        print([signal.getsignal(n) for n in sorted(signal.valid_signals())], signal.pthread_sigmask(signal.SIG_BLOCK, []))
        print([l for l in open("/proc/self/status") if l.startswith(("SigIgn", "SigBlk", "SigCgt", "Threads"))])
        print(sys.stdin, sys.stdout, sys.stderr, sys.stdin.read(), [s.line_buffering for s in (sys.stdin, sys.stdout, sys.stderr)])
        print([s.write_through for s in (sys.stdout, sys.stderr)], sys.stdout.buffer, sys.__stdout__ is sys.stdout)
    """,
    "exit 0": "import sys; sys.exit(0)",
    "exit 3": "import sys; sys.exit(3)",
    "exit -1": "import sys; sys.exit(-1)",
    "exit 256": "import sys; sys.exit(256)",
    "exit large": "import sys; sys.exit(1 << 40)",
    "exit True": "import sys; sys.exit(True)",
    "exit text": "import sys; print('out'); sys.exit('why: \\xe4')",
    "exit object": "raise SystemExit({'a': 1})",
    "exit float": "raise SystemExit(1.5)",
    "exit empty": "raise SystemExit('')",
    "_exit": "import os; print('lost'); os._exit(7)",
    "abort": "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()",
    "error": """
        print("before")
        def f(x):
            return 1 / x
        def g():
            f(0)
        g()
    """,
    "chained": """
        class Own(Exception):
            def __str__(self): return "own text"
        try:
            {}["a"]
        except KeyError as error:
            error.add_note("a note") if hasattr(error, "add_note") else None
            raise Own from error
    """,
    "context": """
        try:
            1 / 0
        except ZeroDivisionError:
            undefined_name
    """,
    "syntax": "print('never')\nif True print(1)\n",
    "indentation": "if 1:\nprint(2)\n",
    "null bytes": "print(1)\0\n",
    "wrong encoding": "# coding: no-such-thing\nprint(1)\n",
    "not utf-8": b"print('\xff')\n",
    "latin-1": b"# coding: latin-1\nprint(ascii('\xe4'))\n",
    "syntax warning": "print('\\d'); assert (1, 'x')\nx = 1 is 1\n",
    "recursion": "def f(): f()\ntry:\n    f()\nexcept RecursionError as e: print(e)\n",
    "keyboard interrupt": "print('x')\nraise KeyboardInterrupt",
    "keyboard interrupt by a signal": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time; time.sleep(9)\n",
    "keyboard interrupt, derived": "class K(KeyboardInterrupt): pass\nraise K('k')",
    "killed": "import os; print('x', flush=True); os.kill(os.getpid(), 9)",
    "terminated": "import os; os.kill(os.getpid(), 15)",
    "sigpipe": """
        import os
        r, w = os.pipe(); os.close(r)
        try: os.write(w, b"x")
        except BrokenPipeError as e: print("EPIPE", e)
    """,
    "atexit": """
        import atexit, sys
        atexit.register(print, "first registered")
        atexit.register(lambda: print("last", getattr(sys, "last_value", None)))
        atexit.register(lambda: 1 / 0)
        print("body")
        raise ValueError("body failed")
    """,
    "atexit exits": "import atexit, sys\natexit.register(lambda: sys.exit(5))\natexit.register(print, 'yes')",
    "excepthook": """
        import sys
        def hook(kind, value, tb):
            print("hook", kind, value, tb.tb_frame.f_code.co_name, tb.tb_lineno, sys.exc_info())
        sys.excepthook = hook
        raise ValueError("x")
    """,
    "excepthook fails": """
        import sys
        def hook(*args): raise KeyError("in the hook")
        sys.excepthook = hook
        raise ValueError("x")
    """,
    "excepthook exits": "import sys\nsys.excepthook = lambda *a: sys.exit(9)\nraise ValueError('x')",
    "threads": """
        import threading, time
        def work():
            time.sleep(0.1); print("from a thread", threading.current_thread() is not threading.main_thread())
        threading.Thread(target=work).start()
        def daemon():
            while True: time.sleep(0.01)
        threading.Thread(target=daemon, daemon=True).start()
        print(threading.active_count(), threading.main_thread().name, threading.current_thread().ident == threading.get_ident())
        print(threading.main_thread().native_id == threading.get_native_id())
    """,
    "a thread fails": "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='T')\nt.start(); t.join(); print('on')",
    "a pool of threads": "from concurrent.futures import ThreadPoolExecutor\ne = ThreadPoolExecutor(2)\nprint(list(e.map(abs, [-1, 2])))\ne.submit(print, 'late')",
    "objects with __del__": """
        class Last:
            def __del__(self):
                print("deleted", sorted(n for n in globals() if n in ("Last", "later")), later)
        one, later = Last(), "later"
    """,
    "a cycle is freed": """
        class A:
            def __del__(self): print("freed")
        a = A(); a.me = a
        del a
        b = A(); b.me = b
    """,
    "weakref finalize": "import weakref\nclass A: pass\na = A()\nweakref.finalize(a, print, 'finalized')\n",
    "a temporary folder": "import tempfile, os\nt = tempfile.TemporaryDirectory(dir='.')\nprint(os.path.isdir(t.name))",
    "stdout closed": "import sys\nprint('x'); sys.stdout.close()",
    "stdout is None": "import sys\nprint('x'); sys.stdout.flush(); sys.stdout = None",
    "stdout is full": "import os, sys\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nprint('x' * 10)",
    "stdout is a closed pipe": "import os\nr, w = os.pipe(); os.close(r); os.dup2(w, 1)\nprint('x')",
    "stderr is a closed pipe": "import os, sys\nr, w = os.pipe(); os.close(r); os.dup2(w, 2)\nsys.stderr.write('x'); print('on')",
    "stdout is replaced": "import sys, io\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, 'utf-16')\nprint('x')",
    "descriptor 1 is closed": "import os\nprint('x')\nos.close(1)",
    "print and write": "import os, sys\nprint('one'); os.write(1, b'two\\n'); sys.stdout.buffer.write(b'three\\n'); print('four', file=sys.stderr)",
    "c library": "import ctypes\nctypes.CDLL(None).printf(b'from C\\n')\nprint('from Python')",
    "os.exec": "import os, sys\nprint('x', flush=True)\nos.execvp('echo', ['echo', 'y'])",
    "os.fork": """
        import os, sys
        print("before", flush=True)
        if os.fork() == 0:
            print("child"); sys.exit(4)
        print("parent", os.waitstatus_to_exitcode(os.wait()[1]))
    """,
    "subprocess": "import subprocess, sys\nprint(subprocess.run(['sh', '-c', 'echo $MH_JOB; ls /proc/self/fd | wc -l; exit 3'], capture_output=True))",
    "subprocess of Python": "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'import sys; print(sys.argv)'], capture_output=True))",
    "multiprocessing fork": """
        import multiprocessing as m
        def work(x): return x * x
        if __name__ == "__main__":
            with m.get_context("fork").Pool(2) as pool: print(pool.map(work, range(5)))
    """,
    "multiprocessing spawn": """
        import multiprocessing as m
        def work(x): return x * x
        if __name__ == "__main__":
            with m.get_context("spawn").Pool(1) as pool: print(pool.map(work, range(5)))
    """,
    "multiprocessing forkserver": """
        import multiprocessing as m
        def work(x): return x * x
        if __name__ == "__main__":
            with m.get_context("forkserver").Pool(1) as pool: print(pool.map(work, range(5)))
    """,
    "a process pool": """
        from concurrent.futures import ProcessPoolExecutor
        def work(x): return x * x
        if __name__ == "__main__":
            with ProcessPoolExecutor(1) as pool: print(list(pool.map(work, range(5))))
    """,
    "asyncio": "import asyncio\nasync def main():\n    await asyncio.sleep(0.01); print('done')\nasyncio.run(main())",
    "asyncio never awaited": "import asyncio\nasync def main(): pass\nmain()\n",
    "signal handler": """
        import os, signal
        signal.signal(signal.SIGUSR1, lambda *a: print("handled", a[0]))
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.signal(signal.SIGALRM, lambda *a: print("alarm")); signal.alarm(1); signal.pause()
    """,
    "warnings": """
        import warnings
        warnings.warn("one")
        def f(): warnings.warn("two", DeprecationWarning, stacklevel=2)
        f()
    """,
    "logging": """
        import logging
        logging.basicConfig(format="%(levelname)s %(name)s %(process)d %(message)s".replace("%(process)d ", ""))
        logging.warning("w"); logging.info("i")
        try: 1 / 0
        except ZeroDivisionError: logging.exception("e")
        print(0 <= logging.makeLogRecord({}).relativeCreated < 60_000)
    """,
    "argparse": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--size', type=int)\np.parse_args(['--size', 'x'])",
    "argparse help": "import argparse\nargparse.ArgumentParser(description='d').parse_args(['--help'])",
    "pickle": "import pickle\nclass A: pass\nprint(pickle.dumps(A()), type(pickle.loads(pickle.dumps(A()))))",
    "import main": "import __main__\nx = 1\nprint(__main__.x, __main__.__file__)",
    "runpy": "import runpy\nprint(runpy.run_path('own_module.py')['VALUE'])",
    "a local module": "import own_module, sys\nprint(own_module.VALUE, own_module.__file__, own_module.__spec__.name)",
    "a local module fails": "import failing_module",
    "no such module": "import no_such_module_at_all",
    "no such name": "from os import no_such_name",
    "inspect": "import inspect\ndef f(): return 1\nprint(inspect.getsource(f), inspect.getfile(f))",
    "future": "from __future__ import annotations\ndef f(x: undefined): pass\nprint(f.__annotations__)",
    "annotations": "x: int = 1\nprint(__annotations__ if '__annotations__' in globals() else None)",
    "stdin": "import sys\nprint(repr(sys.stdin.read()), sys.stdin.closed)",
    "input": "try: input()\nexcept EOFError as e: print('EOF', e)",
    "unraisable hook": "import sys\nsys.unraisablehook = lambda u: print('unraisable', u.exc_type, u.err_msg, u.object.__name__)\nclass A:\n    def __del__(self): 1 / 0\nA()\n",
    "trace": "import sys\nlines = []\nsys.settrace(lambda f, e, a: lines.append(e))\ndef f(): pass\nf()\nsys.settrace(None)\nprint(lines)",
    "faulthandler": "import faulthandler\nfaulthandler.dump_traceback_later(100)\nprint(faulthandler.is_enabled())",
    "time": "import time\nprint(time.process_time() < 5)",
    "tempfile": "import tempfile\nprint(tempfile.gettempdir())",
    "gc": "import gc\nprint(gc.isenabled(), gc.get_threshold())",
    "exit in a finally": "try:\n    raise ValueError\nfinally:\n    print('finally')",
    "generator exit": "def g():\n    try: yield 1\n    finally: print('closed')\nx = g(); next(x)\n",
    "base exception": "raise BaseException('b')",
    "exception group": "raise ExceptionGroup('g', [ValueError(1), KeyError(2)])" if sys.version_info >= (3, 11) else "",
    "print many": "for n in range(20000): print(n)",
    "displayhook": "import sys\nsys.displayhook(3)",
    "builtins exit": "print('x')\nexit('bye')",
    "numpy": "import numpy\nprint(numpy.arange(6).reshape(2, 3) @ numpy.ones((3, 2)))",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_does_the_same_cold_and_warm(name: str, folder: Path) -> None:
    """What it prints on both streams, and how it ends, are the same: twice, so that nothing is left by the one before."""
    source = SCRIPTS[name]
    (folder / "script.py").write_bytes(source if isinstance(source, bytes) else dedent(source).encode())
    compare(folder, f"{PYTHON} script.py", ("a", "b c"), ("d",))


def test_what_is_in_the_buffer_of_a_file_that_nobody_closes_is_written(folder: Path) -> None:
    """In the script and in a module of its own, as when an interpreter ends."""
    (folder / "own_module.py").write_text(
        "file = open('of-module', 'w'); file.write('whole'); me = [file]; me.append(me)"
    )
    (folder / "script.py").write_text(
        "import own_module\nfile = open('of-script', 'w'); file.write('whole')\ndef f(): return file\n"
    )
    compare(folder, f"{PYTHON} script.py", ())
    assert [(folder / name).read_text() for name in ("of-module", "of-script")] == ["whole", "whole"]
