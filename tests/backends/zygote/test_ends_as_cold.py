"""The end of a warm script is that of an interpreter: what is written, closed and called at last, and what is reported of that."""

from __future__ import annotations

import os
import select
from pathlib import Path
from textwrap import dedent

import pytest

from backends.zygote.warm_bench import PYTHON, notes, opened, seen
from manyhands.backends.zygote.zygote_end import _is_quiet

pytestmark = [
    pytest.mark.sampled,
    pytest.mark.skipif(not (hasattr(os, "pidfd_open") and hasattr(select, "epoll")), reason="launchers need Linux"),
    pytest.mark.usefixtures("nothing_left"),
]
OWN_MODULE = """
file = open("kept-by-module", "w"); file.write("whole"); me = [file]; me.append(me)
def f(): return file
"""
LAST = """
class Last:
    def __init__(self, name): self.name = name
    def __del__(self): print("freed", self.name)
"""

SCRIPTS: dict[str, str] = {
    "files in cycles": """
        import own_module
        file = open("kept", "w"); file.write("whole")
        def f(): return file
    """,
    "a file in a cycle, no collections": """
        import gc; gc.disable()
        file = open("kept", "w"); file.write("whole"); me = [file]; me.append(me)
    """,
    "a file kept by a module of the library": """
        import json, sys, os
        json.kept = open("kept", "w"); json.kept.write("whole")
        sys.kept = open("kept-by-sys", "wb"); sys.kept.write(b"whole")
        os.environ.kept = open("kept-by-object", "w"); os.environ.kept.write("whole")
    """,
    "a file kept by builtins": "import builtins\nbuiltins.kept = open('kept', 'w')\nkept.write('whole')\n",
    "a file kept by a cache": """
        import functools
        @functools.lru_cache
        def get(name): return open(name, "w")
        get("kept").write("whole")
    """,
    "a file kept by a class": "import string\nstring.Template.kept = open('kept', 'w')\nstring.Template.kept.write('whole')\n",
    "a file kept by a thread's storage": "import threading\nlocal = threading.local()\nlocal.kept = open('kept', 'w')\nlocal.kept.write('whole')\n",
    "a file kept by a context": "import contextvars\nv = contextvars.ContextVar('v')\nv.set(open('kept', 'w'))\nv.get().write('whole')\n",
    "a file kept by a traceback": """
        def f():
            file = open("kept", "w"); file.write("whole")
            raise ValueError
        f()
    """,
    "a file kept by a caught error": """
        def f():
            file = open("kept", "w"); file.write("whole")
            raise ValueError
        try: f()
        except ValueError as error: caught = error
    """,
    "a file kept by sys.exit": "import sys\nfile = open('kept', 'w'); file.write('whole')\nsys.exit(file.write)",
    "gzip": "import gzip\nfile = gzip.GzipFile('kept', 'wb', mtime=0); file.write(b'whole' * 99)\n",
    "a zip file": "import zipfile\nz = zipfile.ZipFile('kept', 'w'); z.writestr(zipfile.ZipInfo('a'), 'whole')\n",
    "a zip file kept by the library": "import zipfile\nzipfile.kept = z = zipfile.ZipFile('kept', 'w'); z.writestr(zipfile.ZipInfo('a'), 'whole')\n",
    "a shelf": "import shelve, dbm.dumb\ns = shelve.Shelf(dbm.dumb.open('kept', 'n'), writeback=True)\ns['a'] = [1]; s['a'].append(2)\n",
    "csv": "import csv\nw = csv.writer(open('kept', 'w')); w.writerow([1, 2])\nclass A: pass\na = A(); a.w = w; a.me = a\n",
    "logging to a file": "import logging\nlogging.basicConfig(filename='kept')\nlogging.warning('whole')\n",
    "logging to memory": """
        import logging, logging.handlers
        memory = logging.handlers.MemoryHandler(100, target=logging.FileHandler("kept"))
        logging.getLogger().addHandler(memory); logging.warning("whole")
    """,
    "logging to a stream of its own": "import logging\nlogging.basicConfig(stream=open('kept', 'w'))\nlogging.warning('whole')\n",
    "tempfile": """
        import tempfile, os
        t = tempfile.NamedTemporaryFile(dir=".", prefix="kept-temporary"); tempfile.kept = tempfile.NamedTemporaryFile(dir=".", prefix="kept-temporary")
        s = tempfile.SpooledTemporaryFile(); d = tempfile.TemporaryDirectory(dir=".", prefix="kept-temporary")
        print(sum(name.startswith("kept-temporary") for name in os.listdir(".")))
    """,
    "a weak reference with a callback": "import weakref\nclass A: pass\na = A()\n_r = weakref.ref(a, lambda _: print('gone'))\nr = weakref.ref(a, lambda _: print('freed'))\n",
    "a database": "import sqlite3\ndb = sqlite3.connect('kept'); db.execute('PRAGMA journal_mode = WAL'); db.execute('CREATE TABLE t (a)')\n",
    "freed with the library": LAST + "import json\njson.kept = Last('json')\n",
    "freed with main, which the library keeps": LAST + "import json\njson.kept = Last; main = Last('main')\n",
    "freed with a module that is imported again": LAST
    + "import sys, json\ndel sys.modules['json']\nimport json\njson.kept = Last('json')\n",
    "an odd module": LAST
    + """
import sys
class Odd:
    __slots__ = ("x", "__weakref__")
sys.modules["odd"] = Odd(); sys.modules["odd class"] = Odd; sys.modules["odd object"] = Last("object"); sys.modules["none"] = None
    """,
    "odd globals": "globals()[1] = 2\nglobals()[(3,)] = 4\n" + LAST + "_a = Last('a')\nb = Last('b')\n__c = Last('c')\n",
    "a generator kept by the library": """
        def g():
            try: yield
            finally: print("closed")
        import json
        json.kept = g(); next(json.kept)
    """,
    "a coroutine that was begun": """
        import json
        class Pause:
            def __await__(self): yield
        async def f():
            try: await Pause()
            finally: print("closed")
        json.kept = f(); json.kept.send(None)
    """,
    "what is there at last": """
        import sys, os
        class Last:
            def __del__(self):
                print([type(getattr(sys, n, 0)).__name__ for n in ("path", "argv", "meta_path", "last_value", "path_hooks")])
                print(sys.stdout is sys.__stdout__, sys is not None, "os" in globals())
                try: import colorsys
                except BaseException as e: print(type(e).__name__, e)
        sys.stdout = open("kept", "w"); print("to the file")
        last = Last(); last.me = last
    """,
    "a library's object that prints at last": LAST + "import json, sys\njson.kept = Last('json')\nsys.exit('text')\n",
    "a status with what is left": LAST + "import json, sys\njson.kept = Last('json')\nsys.exit(7)\n",
    "an error with what is left": LAST + "import json\njson.kept = Last('json')\n1 / 0\n",
    "an interrupt with what is left": LAST + "import json\njson.kept = Last('json')\nraise KeyboardInterrupt\n",
    "a full output with what is left": LAST
    + "import json, os\njson.kept = Last('json')\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nprint('x')\n",
    "an output that is a wrapper": "import sys, io\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-16'); print('x')\n",
    "an output that is a file": "import sys\nsys.stdout = open('kept', 'w'); sys.stderr = open('kept-errors', 'w')\nprint('whole'); 1 / 0\n",
    "an output that is in both places": "import sys\nsys.stdout = sys.__stdout__ = open('kept', 'w')\nprint('whole')\n",
    "an output that is an object": """
        import sys
        class Out:
            def write(self, text): open("kept", "a").write(text)
            def flush(self): open("kept", "a").write("flushed\\n")
        sys.stdout = Out(); print("whole")
    """,
    "an output that cannot be flushed": "import sys\nclass Out:\n    write = print\nsys.stdout = Out()\n",
    "an output whose flush fails": "import sys\nclass Out:\n    closed = False\n    def flush(self): 1 / 0\nsys.stdout = Out()\n",
    "errors that cannot be flushed": "import sys\nclass Out:\n    closed = False\n    def flush(self): 1 / 0\nsys.stderr = Out()\n",
    "a text without an output for it": "import sys\nsys.stderr = None\nsys.exit('why')",
    "a text with an output that fails": "import sys\nclass E:\n    def write(self, text): 1 / 0\n    def flush(self): pass\nsys.stderr = E()\nsys.exit('why')",
    "an error without an output for it": "import sys\nsys.stderr = None\n1 / 0",
    "no excepthook": "import sys\ndel sys.excepthook\n1 / 0",
    "an excepthook that is nothing": "import sys\nsys.excepthook = None\n1 / 0",
    "an excepthook that fails without an output": "import sys\nsys.stderr = None\nsys.excepthook = None\n1 / 0",
    "a module replaces the standard streams": "import sys, io\nold = sys.stdout\nsys.stdout = io.StringIO()\nprint('lost'); old.write('kept')\n",
    "a daemon thread": LAST
    + """
import threading, time, own_module
kept = open("kept", "w"); kept.write("whole")
def work():
    while True: own_module.file.tell(); time.sleep(0)
for _ in range(3): threading.Thread(target=work, daemon=True).start()
last = Last("last")
""",
    "a thread without threading": "import _thread, time\n_thread.start_new_thread(time.sleep, (60,))\nfile = open('kept', 'w'); file.write('whole')\n",
    "a thread of an exit handler": """
        import atexit, threading
        atexit.register(lambda: print("at exit"))
        def work(): print("in the thread", threading.current_thread() is threading.main_thread())
        threading.Thread(target=work).start()
    """,
    "the end of threads is interrupted": """
        import threading, os, signal, time
        def work():
            time.sleep(0.3); os.kill(os.getpid(), signal.SIGINT); time.sleep(0.2)
        threading.Thread(target=work).start()
    """,
    "exit handlers of exit handlers": """
        import atexit, weakref, own_module
        def first(): print("first"); atexit.register(print, "second"); own_module.file.write("more")
        atexit.register(first)
        weakref.finalize(own_module.f, print, "finalized")
    """,
    "a signal while it ends": """
        import signal, os, sys
        signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
        class Last:
            def __del__(self, kill=os.kill, pid=os.getpid()): print("last", flush=True); kill(pid, signal.SIGUSR1)
        last = Last(); signal.kept = signal
    """,
    "an interrupt that is blocked": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\nraise KeyboardInterrupt",
    "the library is replaced": """
        import atexit, gc, os, threading
        atexit.register(print, "at exit"); atexit._run_exitfuncs = None
        os._exit = os.kill = os.write = gc.collect = gc.isenabled = gc.get_objects = None
        threading._shutdown = lambda: print("end of threads")
        file = open("kept", "w"); file.write("whole")
    """,
    "sys is empty": "import sys\nprint('x')\nvars(sys).clear()\n",
    "no modules": "import sys\nprint('x')\nfile = open('kept', 'w'); file.write('whole')\nsys.modules.clear()\n",
    "an error at last": "class Last:\n    def __del__(self): 1 / 0\nlast = Last(); last.me = last\n",
    "an import at last": "class Last:\n    def __del__(self): import json\nlast = Last(); last.me = last\n",
    "sqlite": "import sqlite3\nc = sqlite3.connect('kept.db'); c.execute('create table t (a)'); c.commit(); c.execute('insert into t values (1)')\nprint(sqlite3.connect('kept.db').execute('select * from t').fetchall())\n",
    "a pool that nobody closes": """
        from concurrent.futures import ThreadPoolExecutor
        import time
        pool = ThreadPoolExecutor(1); pool.submit(lambda: (time.sleep(0.1), open("kept", "w").write("whole")))
    """,
    "a loop that nobody closes": "import asyncio\nloop = asyncio.new_event_loop(); asyncio.set_event_loop(loop)\nasync def f(): print('x')\nloop.run_until_complete(f())\n",
    "an async generator that nobody closes": """
        import asyncio
        async def g():
            try: yield 1
            finally: print("closed")
        async def main():
            global it
            it = g(); print(await it.__anext__())
        asyncio.run(main())
    """,
}


def done(folder: Path, command: str | None) -> list[tuple[object, dict[str, bytes]]]:
    """What two jobs print, how they end, and what they have written."""
    bench = opened(folder, command)
    found: list[tuple[object, dict[str, bytes]]] = []
    try:
        for _ in range(2):
            arguments = () if command else (PYTHON, "script.py")
            files: dict[str, bytes] = {}
            found.append((seen(bench.run(*arguments).ending), files))
            for path in folder.glob("kept*"):
                files[path.name] = path.read_bytes()
                path.unlink()
        assert notes(bench) == []
    finally:
        bench.backend.close()
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_ends_as_in_an_interpreter_of_its_own(name: str, tmp_path: Path) -> None:
    """What it writes, also to files that nobody closes, and what is called at last, in the same order."""
    (tmp_path / "own_module.py").write_text(OWN_MODULE)
    (tmp_path / "script.py").write_text(dedent(SCRIPTS[name]))
    assert done(tmp_path, f"{PYTHON} script.py") == done(tmp_path, None)


@pytest.mark.parametrize(
    ("path", "quiet"),
    [
        ("pandas/_libs/_cyutility.so", True),
        ("numpy/core/_x.so", True),
        ("mpi4py/MPI.so", False),
        ("my_numpy/x.so", False),
    ],
)
def test_an_extension_whose_exit_handlers_can_be_left_out_is_known_by_its_folder(path: str, quiet: bool) -> None:
    """Some have names of their own."""
    assert _is_quiet(f"/usr/lib/python3/site-packages/{path}") is quiet
