"""Complete programs in the sandbox have the output and the exit status that they have in an interpreter of their own."""

# ruff: noqa: E501 - a short program is easiest to read on one line

import subprocess
import sys
import textwrap

import pytest

from evaluator import Limits, Sandbox

LIMITS = Limits(wall_s=60.0, cpu_s=60.0)
INPUT = "3\n1 2 3\n"
READ = "n = int(input())\na = list(map(int, input().split()))\n"

# Each program reads the sum of a list, or writes it, in its own way. All are run with and without the sandbox.
WRITERS = {
    "wrapper of the detached stdout": "sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')\nprint(s)",
    "wrapper of the detached stderr": "sys.stderr = io.TextIOWrapper(sys.stderr.detach(), encoding='utf-8')\nprint(s)",
    "wrapper of the buffer": "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\nprint(s)",
    "wrapper of the buffer with lines": "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)\nprint(s)",
    "codecs writer": "import codecs\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.buffer)\nprint(s)",
    "codecs writer of the detached": "import codecs\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach())\nprint(s)",
    "reconfigured": "sys.stdout.reconfigure(encoding='utf-8', line_buffering=True, newline='\\r\\n')\nprint(s)",
    "detached and flushed": "b = sys.stdout.detach()\nb.write(b'%d' % s)\nb.flush()",
    "detached and not flushed": "b = sys.stdout.detach()\nb.write(b'%d' % s)",
    "detached, then None": "b = sys.stdout.detach()\nsys.stdout = None\nb.write(b'%d' % s)",
    "only the raw file": "sys.stdout.buffer.raw.write(b'%d' % s)",
    "buffer and text": "print('a')\nsys.stdout.flush()\nsys.stdout.buffer.write(b'b')\nprint('c')",
    "text before buffer": "print('a')\nsys.stdout.buffer.write(b'b')\nprint('c')",
    "os.write between prints": "print('a')\nos.write(1, b'b')\nprint('c')",
    "/dev/stdout": "open('/dev/stdout', 'w').write(str(s))",
    "/dev/stdout, open at the end": "f = open('/dev/stdout', 'w')\nf.write(str(s))",
    "/dev/stdout, open in a program with functions": "def g(): pass\nf = open('/dev/stdout', 'w')\nf.write(str(s))",
    "/dev/stdout after print": "print('a', flush=True)\nwith open('/dev/stdout', 'w') as f: f.write('b')\nprint('c')",
    "/dev/stdout before a late flush": "print('a')\nwith open('/dev/stdout', 'w') as f: f.write('b')",
    "/dev/stdout in mode a": "print('a', flush=True)\nopen('/dev/stdout', 'a').write('b')",
    "/dev/stdout in mode wb": "print('a', flush=True)\nopen('/dev/stdout', 'wb', 0).write(b'b')\nprint('c')",
    "/dev/fd/1": "print('a', flush=True)\nopen('/dev/fd/1', 'w').write('b')",
    "/proc/self/fd/1": "print('a', flush=True)\nopen('/proc/self/fd/1', 'w').write('b')",
    "/dev/stdout by os.open": "print('a', flush=True)\nos.write(os.open('/dev/stdout', os.O_WRONLY | os.O_TRUNC), b'b')",
    "two files of /dev/stdout": "f, g = (open('/dev/stdout', 'w') for _ in '12')\n"
    "for x in '1234':\n  f.write(x); f.flush(); g.write('-'); g.flush()",
    "print to /dev/stdout": "print(s, file=open('/dev/stdout', 'w'))",
    "/dev/stderr": "print(s)\nopen('/dev/stderr', 'w').write('x')\nprint(s, file=sys.stderr)",
    "open(1)": "sys.stdout = open(1, 'w')\nprint(s)",
    "open(1) after a print": "print('lost')\nsys.stdout = open(1, 'w')\nprint(s)",
    "open(1) without closing": "print('last')\nsys.stdout = open(1, 'w', closefd=False)\nprint(s)",
    "open(1) with a large buffer": "sys.stdout = open(1, 'w', buffering=1 << 20)\nprint(s)",
    "open(1) in binary": "f = open(1, 'wb')\nf.write(b'%d' % s)",
    "os.fdopen": "f = os.fdopen(1, 'w')\nf.write(str(s))",
    "os.fdopen of a duplicate": "print('a')\nf = os.fdopen(os.dup(1), 'w')\nf.write('b')\nf.close()\nprint('c')",
    "fdopen that stays open": "sys.stdout = os.fdopen(os.dup(1), 'w')\nprint(s)",
    "dup2 to another descriptor": "os.dup2(1, 9)\nprint('a', flush=True)\nos.write(9, b'b')\nprint('c')",
    "dup2 of stderr": "os.dup2(1, 2)\nprint('a', file=sys.stderr)\nprint('b', flush=True)\nprint('c', file=sys.stderr)",
    "stderr is stdout": "sys.stderr = sys.stdout\nprint('a', file=sys.stderr)\nprint('b')",
    "redirected to a file and back": "kept = os.dup(1)\nf = open('out', 'w')\nos.dup2(f.fileno(), 1)\nprint('hidden', flush=True)\n"
    "os.dup2(kept, 1)\nprint(s)\nos.remove('out')",
    "subprocess": "import subprocess\nsubprocess.run(['/bin/echo', str(s)])",
    "subprocess between prints": "import subprocess\nprint('a', flush=True)\nsubprocess.run(['/bin/echo', 'b'])\nprint('c')",
    "subprocess without a flush": "import subprocess\nprint('a')\nsubprocess.run(['/bin/echo', 'b'])\nprint('c')",
    "subprocess that reads stdin": "import subprocess\nsubprocess.run(['/bin/cat'], input=b'x\\n')",
    "subprocess with stdout=sys.stdout": "import subprocess\nsubprocess.run(['/bin/echo', 'b'], stdout=sys.stdout)",
    "os.system": "os.system('echo a; echo b >/dev/stdout; echo c')",
    "os.popen": "print(os.popen('echo %d' % s).read())",
    "C library": "import ctypes\nprint('a', flush=True)\nctypes.CDLL(None).printf(b'%d\\n', s)",
    "StringIO swapped back": "kept, sys.stdout = sys.stdout, io.StringIO()\nprint(s)\nt = sys.stdout.getvalue()\n"
    "sys.stdout = kept\nprint(t, end='')",
    "StringIO that stays": "print('a')\nsys.stdout = io.StringIO()\nprint(s)",
    "StringIO written at exit": "import atexit\nb = sys.stdout = io.StringIO()\n"
    "atexit.register(lambda: sys.__stdout__.write(b.getvalue()))\nprint(s)",
    "redirect_stdout": "import contextlib\nb = io.StringIO()\nwith contextlib.redirect_stdout(b): print(s)\nprint(b.getvalue())",
    "redirect_stdout to stderr": "import contextlib\nwith contextlib.redirect_stdout(sys.stderr): print('hidden')\nprint(s)",
    "class with write": "class W:\n  def write(self, x): os.write(1, x.encode())\nsys.stdout = W()\nprint(s)",
    "class with write and flush": "class W:\n  b = []\n  def write(self, x): self.b.append(x)\n"
    "  def flush(self): os.write(1, ''.join(self.b).encode()); self.b.clear()\nsys.stdout = W()\nprint(s)",
    "class that never clears": "class W:\n  b = []\n  def write(self, x): self.b.append(x)\n"
    "  def flush(self): os.write(1, ''.join(self.b).encode())\nsys.stdout = W()\nprint(s)",
    "class whose flush raises": "class W:\n  def write(self, x): os.write(1, x.encode())\n  def flush(self): 1 / 0\n"
    "sys.stdout = W()\nprint(s)",
    "class whose closed raises": "class W:\n  def write(self, x): os.write(1, x.encode())\n  def flush(self): self.write('f')\n"
    "  closed = property(lambda self: 1 / 0)\nsys.stdout = W()\nprint(s)",
    "class that says it is closed": "class W:\n  closed = True\n  def write(self, x): os.write(1, x.encode())\n"
    "  def flush(self): self.write('f')\nsys.stdout = W()\nprint(s)",
    "list with write": "class Out(list):\n  def write(self, x): self.append(x)\n"
    "  def flush(self): sys.__stdout__.write(''.join(self)); self.clear(); sys.__stdout__.flush()\nsys.stdout = Out()\nprint(s)",
    "tee": "class Tee:\n  def __init__(self, *f): self.f = f\n  def write(self, x): [f.write(x) for f in self.f]\n"
    "  def flush(self): [f.flush() for f in self.f]\nsys.stdout = Tee(sys.stdout, sys.stderr)\nprint(s)",
    "wrapper by attribute": "class W:\n  def __init__(self, f): self.f = f\n  def __getattr__(self, n): return getattr(self.f, n)\n"
    "sys.stdout = W(sys.stdout)\nprint(s)",
    "fast output class": "class IOWrapper(io.IOBase):\n  def __init__(self, f):\n    self.b = io.BytesIO(); self.fd = f.fileno()\n"
    "    self.writable = True; self.write = lambda x: self.b.write(x.encode())\n"
    "  def flush(self): os.write(self.fd, self.b.getvalue()); self.b.seek(0); self.b.truncate(0)\n"
    "sys.stdout = IOWrapper(sys.stdout)\nprint(s)",
    "fast output class that is not stdout": "class W(io.IOBase):\n  def __init__(self): self.b = []\n"
    "  def flush(self): os.write(1, ''.join(self.b).encode()); self.b.clear()\nw = W()\nw.b.append(str(s))",
    "writer replaced at exit": "import atexit\ndef end():\n  sys.stdout = open(1, 'w', closefd=False)\n  print('end')\n"
    "atexit.register(end)\nprint(s)",
    "closed at exit": "import atexit\natexit.register(sys.stdout.close)\nprint(s)",
    "print at exit": "import atexit\natexit.register(print, s)\natexit.register(print, 'first')",
    "exit hook that raises": "import atexit\natexit.register(print, s)\natexit.register(lambda: 1 / 0)",
    "exit hook that exits": "import atexit\natexit.register(print, s)\natexit.register(sys.exit, 3)",
    "closed stdout": "print(s)\nsys.stdout.close()",
    "print to closed stdout": "print(s)\nsys.stdout.close()\nprint(s)",
    "closed descriptor": "print(s, flush=True)\nos.close(1)",
    "closed descriptor with a rest": "print(s)\nos.close(1)",
    "closed descriptor of stderr": "print(s)\nos.close(2)",
    "stdout is None": "print('a')\nsys.stdout = None\nprint('b')",
    "deleted stdout": "print('a')\ndel sys.stdout",
    "deleted __stdout__": "print('a')\ndel sys.__stdout__",
    "stdout is a string": "print('a')\nsys.stdout = 'text'",
    "/dev/full": "print(s, flush=True)\nsys.stdout = open('/dev/full', 'w')\nprint(s)",
    "/dev/null": "print(s)\nsys.stdout = open('/dev/null', 'w')\nprint('hidden')",
    "surrogate from bytes": "print(s, '\\udcff')",
    "surrogate of UTF-16": "print(s, flush=True)\nprint('\\ud800')",
    "emoji and ellipsis": "print('\\U0001f600', '\\u2026', 'é')",
    "print with separators": "print(1, 2, sep='', end='')\nprint(*a, sep=', ', end='!')",
    "writelines": "sys.stdout.writelines(f'{x}\\n' for x in a)",
    "a megabyte": "print('x' * 1_000_000)\nprint('y')",
    "100,000 lines": "for i in range(100_000): print(i)",
    "many flushes": "for i in range(3000): print(i, flush=True)",
    "seek": "print(sys.stdout.seekable(), sys.stdin.seekable(), sys.stdout.isatty(), sys.stdout.writable())",
    "kind of the files": "import stat\nprint(stat.S_ISFIFO(os.fstat(1).st_mode), stat.S_ISREG(os.fstat(0).st_mode))",
    "attributes": "print(sys.stdout.name, sys.stdout.mode, sys.stdout.encoding, sys.stdout.errors, sys.stdout.fileno())",
    "logging": "import logging\nlogging.basicConfig(level=logging.DEBUG)\nlogging.debug('x')\nprint(s)",
    "logging to stdout": "import logging\nlogging.basicConfig(stream=sys.stdout, format='%(message)s')\nprint('a')\n"
    "logging.error(s)\nprint('c')",
    "logging to /dev/stdout": "import logging\nlogging.basicConfig(filename='/dev/stdout', format='%(message)s')\nlogging.error(s)",
    "warnings": "import warnings\nwarnings.warn('x')\nprint(s)",
    "pprint": "import pprint\npprint.pprint({'a': list(range(40))})",
    "csv": "import csv\ncsv.writer(sys.stdout).writerow(a)",
    "json": "import json\njson.dump(a, sys.stdout)",
    "shutil": "import shutil\nshutil.copyfileobj(io.StringIO('abc'), sys.stdout)",
    "splice": "os.sendfile(1, 0, 0, 6)",
}
READERS = {
    "input": "n = int(input())\na = list(map(int, input().split()))",
    "open(0)": "n, *a = map(int, open(0).read().split())",
    "open(0) twice": "n = int(open(0, closefd=False).readline())\na = [n]\nprint(repr(open(0, closefd=False).read()))",
    "mmap": "import mmap\nm = mmap.mmap(0, 0, access=mmap.ACCESS_READ)\nn = int(m.readline())\na = map(int, m.readline().split())",
    "private mmap": "import mmap\nm = mmap.mmap(0, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)\na = map(int, m[:].split())",
    "duplicate": "sys.stdin = os.fdopen(os.dup(0))\nn = int(input())\na = map(int, input().split())",
    "duplicate after a line": "n = input()\nf = os.fdopen(os.dup(0))\nprint(repr(f.read()))\nf.seek(0)\na = map(int, f.read().split())",
    "detached stdin": "sys.stdin = io.TextIOWrapper(sys.stdin.detach(), encoding='utf-8')\nn = input()\na = map(int, input().split())",
    "buffer": "a = map(int, sys.stdin.buffer.read().split())",
    "BytesIO": "input = io.BytesIO(os.read(0, os.fstat(0).st_size)).readline\nn = int(input())\na = map(int, input().split())",
    "StringIO": "sys.stdin = io.StringIO(sys.stdin.read())\nn = int(input())\na = map(int, input().split())",
    "/dev/stdin": "a = map(int, open('/dev/stdin').read().split())",
    "/dev/stdin after a line": "n = int(input())\na = map(int, open('/dev/stdin').read().split())",
    "/dev/fd/0": "a = map(int, open('/dev/fd/0').read().split())",
    "pathlib": "import pathlib\na = map(int, pathlib.Path('/dev/stdin').read_text().split())",
    "numbers with fileinput": "import fileinput\na = [int(x) for line in fileinput.input() for x in line.split()]",
    "subprocess": "import subprocess\na = map(int, subprocess.check_output(['/bin/cat']).split())",
    "text, then buffer": "n = int(input())\na = map(int, sys.stdin.read().split())\nassert sys.stdin.buffer.read() == b''",
    "seek": "sys.stdin.read()\nsys.stdin.seek(0)\na = map(int, sys.stdin.read().split())",
    "end of file": "a = []\nwhile True:\n  try: a += map(int, input().split())\n  except EOFError: break",
    "two iterators": "n = int(next(sys.stdin))\na = [int(x) for line in sys.stdin for x in line.split()]",
    "prompt": "n = int(input('n? '))\na = map(int, input('a? ').split())",
    "asyncio": "import asyncio\nasync def read():\n  loop = asyncio.get_running_loop()\n  await loop.run_in_executor(None, input)\n"
    "  return await loop.run_in_executor(None, input)\na = map(int, asyncio.run(read()).split())",
    "asyncio reader": "import asyncio\nasync def read():\n  f = asyncio.StreamReader()\n"
    "  f.feed_data(sys.stdin.buffer.read()); f.feed_eof()\n  return await f.read()\na = map(int, asyncio.run(read()).split())",
    "selectors": "import select\nassert select.select([0], [], [], 9)[0]\na = map(int, sys.stdin.read().split())",
    "thread": "import queue, threading\nq = queue.Queue()\n"
    "t = threading.Thread(target=lambda: [q.put(x) for x in sys.stdin])\nt.start(); t.join()\na = map(int, q.get().split())",
    "str and eval": "n = int(input())\na = eval('[' + input().replace(' ', ',') + ']')",
}
ENDINGS = {
    "__del__": "class P:\n  def __del__(self): print(self.x)\np = P(); p.x = s",
    "__del__ with globals": "import math\nclass P:\n  def __del__(self): print(math.sqrt(16), limit, g())\np = P()\n"
    "limit = 5\ndef g(): return limit",
    "__del__ in a list": "class P:\n  def __init__(self, x): self.x = x\n  def __del__(self): print(self.x)\nkept = [P(1), P(2)]",
    "__del__ in a cycle": "class P:\n  def __del__(self): print('gone', s)\np = P(); p.me = p; del p\nprint('end')",
    "__del__ in a cycle, stdout swapped": "class P:\n  def __del__(self): print('gone')\np = P(); p.me = p; del p\n"
    "kept = sys.stdout\nsys.stdout = io.StringIO()",
    "__del__ that raises": "class P:\n  def __del__(self): 1 / 0\np = P()\nprint(s)",
    "__del__ on a name held by typing": "from typing import List\nclass P:\n  def __del__(self): print(s)\nx: List[P] = [P()]",
    "generator with finally": "def g():\n  try: yield 1\n  finally: print('closed', s)\nit = g(); next(it)",
    "generator with finally in a function": "def g():\n  try: yield 1\n  finally: print('closed')\n"
    "def h():\n  it = g(); next(it); it.me = 0\ntry: h()\nexcept AttributeError: print('end')",
    "context manager left open": "import contextlib\n@contextlib.contextmanager\ndef c():\n  try: yield\n  finally: print('left')\n"
    "c().__enter__()\nm = c(); m.__enter__()",
    "ExitStack": "import contextlib\nx = contextlib.ExitStack()\nx.callback(print, 'never')\nprint(s)",
    "weakref.finalize": "import weakref\nclass P: pass\np = P()\nweakref.finalize(p, print, s)",
    "file never closed": "f = open('left.txt', 'w')\nf.write('x')\nos.remove('left.txt')\nprint(s)",
    "sys.exit in a function": "def f(): sys.exit()\nprint(s)\nf()",
    "sys.exit with a status": "print(s)\nsys.exit(3)",
    "sys.exit with a message": "print(s)\nsys.exit('message')",
    "sys.exit with a message and no stderr": "print(s)\nsys.stderr = None\nsys.exit('message')",
    "sys.exit with a large number": "print(s)\nsys.exit(10 ** 20)",
    "sys.exit with 256": "print(s)\nsys.exit(256)",
    "sys.exit with -1": "print(s)\nsys.exit(-1)",
    "sys.exit with a float": "print(s)\nsys.exit(0.0)",
    "sys.exit with True": "print(s)\nsys.exit(True)",
    "sys.exit with finally": "try: sys.exit(0)\nfinally: print(s)",
    "os._exit": "print(s, flush=True)\nos._exit(0)",
    "os._exit with a rest": "print(s)\nos._exit(0)",
    "exception": "print(s)\n1 / 0",
    "exception with a cause": "print(s)\ntry: 1 / 0\nexcept ZeroDivisionError as e: raise ValueError from e",
    "exception group": "print(s)\nraise ExceptionGroup('g', [ValueError(1)])",
    "exception hook": "sys.excepthook = lambda *e: print(e[0].__name__)\nprint(s)\n1 / 0",
    "exception hook that exits": "sys.excepthook = lambda *e: sys.exit(0)\nprint(s)\n1 / 0",
    "exception hook that raises": "sys.excepthook = lambda *e: 1 / 0\nprint(s)\nint('x')",
    "exit with os._exit in a hook": "def hook(*e):\n  print('hook', flush=True); os._exit(0)\nsys.excepthook = hook\n1 / 0",
    "failed assertion": "print(s)\nassert s == 0",
    "exit in a thread": "import threading\nt = threading.Thread(target=sys.exit, args=[3])\nt.start(); t.join()\nprint(s)",
    "exception in a thread": "import threading\ndef w(): print(s); raise ValueError\nt = threading.Thread(target=w)\nt.start()",
    "os._exit in a thread": "import threading\ndef w(): print(s, flush=True); os._exit(4)\nt = threading.Thread(target=w)\nt.start(); t.join()",
    "timer": "import threading\nthreading.Timer(0.05, lambda: print(s)).start()",
    "thread that prints last": "import threading, time\ndef w(): time.sleep(0.05); print('last')\n"
    "threading.Thread(target=w).start()\nprint('first')",
    "daemon thread": "import threading, time\nthreading.Thread(target=time.sleep, args=[99], daemon=True).start()\nprint(s)",
    "daemon thread and another stream": "import threading, time\nthreading.Thread(target=time.sleep, args=[99], daemon=True).start()\n"
    "print('a')\nsys.stdout = open(1, 'w', closefd=False)\nprint(s)",
    "interrupted main thread": "import _thread, threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.05), _thread.interrupt_main(), time.sleep(0.05), print('t'))).start()\nprint(s)",
    "deep recursion in a thread": "import threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 28)\n"
    "def f(k): return k and 1 + f(k - 1)\nt = threading.Thread(target=lambda: print(f(50_000)))\nt.start(); t.join()",
    "thread with the largest limits": "import threading\nsys.setrecursionlimit(2**31 - 1)\nthreading.stack_size(2**30 - 1)\n"
    "t = threading.Thread(target=lambda: print(s))\nt.start(); t.join()",
    "recursion up to the default limit": "def f(k): return k and 1 + f(k - 1)\nk = 900\ntry:\n  while True: f(k); k += 1\n"
    "except RecursionError: print(k)",
    "recursion beyond the limit": "def f(k): return 1 + f(k - 1)\nprint(s)\nf(0)",
    "tight recursion limit": "sys.setrecursionlimit(2002)\ndef f(k): return k and 1 + f(k - 1)\nprint(f(2000))",
    "limits of recursion": "print(sys.getrecursionlimit())\nfor limit in (5000, 2**31 - 1, 2**31, 0, -1, 1.5, 'x'):\n"
    "  try: sys.setrecursionlimit(limit); print(sys.getrecursionlimit())\n  except Exception as e: print(type(e).__name__)",
    "stack limit": "import resource\nh = resource.getrlimit(resource.RLIMIT_STACK)[1]\n"
    "resource.setrlimit(resource.RLIMIT_STACK, (h, h))\nsys.setrecursionlimit(10**6)\nprint(s)",
    "ThreadPoolExecutor": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as p: print(sum(p.map(int, a)))",
    "ThreadPoolExecutor left open": "from concurrent.futures import ThreadPoolExecutor\np = ThreadPoolExecutor(2)\np.submit(print, s)",
    "ProcessPoolExecutor": "from concurrent.futures import ProcessPoolExecutor\nif __name__ == '__main__':\n"
    "  with ProcessPoolExecutor(2) as p: print(sum(p.map(abs, a)))",
    "Process and Queue": "from multiprocessing import Process, Queue, Value\ndef w(q, v):\n  with v.get_lock(): v.value += 1\n  q.put(s)\n"
    "q, v = Queue(), Value('i', 0)\np = Process(target=w, args=(q, v)); p.start()\nprint(q.get(), p.join(), v.value)",
    "Process that prints": "from multiprocessing import Process\nprint('a', flush=True)\np = Process(target=print, args=['b'])\n"
    "p.start(); p.join()\nprint('c', p.exitcode)",
    "Pool": "from multiprocessing import Pool\ndef w(x): return x * x\nif __name__ == '__main__':\n  with Pool(2) as p: print(p.map(w, a))",
    "another interpreter": "import subprocess\nsubprocess.run([sys.executable, '-S', '-c', f'print({s})'], check=True)",
    "Pipe": "from multiprocessing import Pipe, Process\nx, y = Pipe()\np = Process(target=lambda: y.send(s))\np.start()\nprint(x.recv())\np.join()",
    "shared array": "from multiprocessing import Lock, Array, Process\nx = Array('i', 3)\ndef w(i): x[i] = i * i\n"
    "t = [Process(target=w, args=[i]) for i in range(3)]\n[p.start() for p in t]\n[p.join() for p in t]\nprint(x[:])",
    "fork": "print('a', flush=True)\nif os.fork() == 0: print('b'); sys.exit(0)\nos.wait()\nprint('c')",
    "fork with unflushed output": "print('a')\nif os.fork() == 0: sys.exit(0)\nos.wait()\nprint('c')",
    "import __main__": "import __main__\nprint(__main__.s, __main__.__name__, __name__)",
    "pickled function": "import pickle\ndef f(): return s\nprint(pickle.loads(pickle.dumps(f))())",
    "pickled object": "import copy, pickle\nclass P:\n  def __init__(self): self.x = s\nprint(pickle.loads(pickle.dumps(P())).x, copy.deepcopy(P()).x)",
    "dataclass": "from dataclasses import dataclass, field\n@dataclass(order=True)\nclass P:\n  x: int = 3\n  y: list = field(default_factory=list)\nprint(P())",
    "type hints": "import typing\nx: int = 3\ny: 'list[int]' = []\nprint(typing.get_type_hints(sys.modules['__main__']))",
    "annotations without any": "print(__annotations__, __spec__, __package__, __doc__)",
    "main module": "print(os.path.basename(__file__), os.path.dirname(__file__) == os.getcwd(), sys.argv, __cached__)",
    "chdir to its folder": "os.chdir(os.path.dirname(__file__))\nprint(s)",
    "globals and locals": "print(globals() is locals(), sorted(k for k in globals() if k.startswith('__')) == sorted(\n"
    "  k for k in vars(sys.modules['__main__']) if k.startswith('__')))",
    "exec and eval": "exec('t = s + 1')\nprint(eval('t'), t)",
    "long integers": "print(2 ** 20_000, len(str(10 ** 60_000)), int('7' * 6000) % 10)",
    "frame of the main module": "print(sys._getframe().f_code.co_name)",
    "class named as a module": "class math: pi = 3\nprint(math.pi)",
    "gc disabled": "import gc\ngc.disable()\nx = [[] for _ in range(1000)]\nprint(len(x))",
    "signal handler": "import signal\nsignal.signal(signal.SIGALRM, lambda *_: (print('alarm'), sys.exit(0)))\nsignal.alarm(1)\nsignal.pause()",
    "lru_cache": "from functools import lru_cache\nsys.setrecursionlimit(20_000)\n@lru_cache(None)\ndef f(k): return k and 1 + f(k - 1)\nprint(f(5000))",
    "metaclass that raises": "class M(type):\n  def __hash__(c): 1 / 0\n  def mro(c): return type.mro(c)\n"
    "class P(metaclass=M): pass\np = P()\nprint(s)",
    "del of a builtin": "import builtins\nbuiltins.isinstance = builtins.print = None\nsys.stdout.write('x')",
    "replaced main module": "import types\nsys.modules['__main__'] = types.SimpleNamespace(x=1)\nprint(s)",
    "cleared sys.modules": "print(s)\nsys.modules.clear()",
}


# Not after READ: the processes that spawn starts import the program, and there is no more input for them.
SPAWNING = {
    "Process": """
        c = multiprocessing.get_context('spawn')
        q = c.SimpleQueue()
        p = c.Process(target=put, args=(q, int(input())))
        p.start()
        print(q.get(), p.join(), p.exitcode)
        """,
    "Pool": """
        with multiprocessing.get_context('spawn').Pool(2) as p: print(p.map(square, [int(input())]))
        """,
    "ProcessPoolExecutor": """
        with ProcessPoolExecutor(2, multiprocessing.get_context('spawn')) as p: print(*p.map(square, [int(input())]))
        """,
}
SPAWNING_HEAD = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
def square(x): return x * x
def put(q, x): q.put((x, __name__))
if __name__ == '__main__':
"""


def make_cases():
    for name, source in WRITERS.items():
        yield f"write {name}", f"import io, os, sys\n{READ}s = sum(a)\n{source}\n"
    for name, source in READERS.items():
        yield f"read {name}", f"import io, os, sys\n{source}\nprint(sum(a))\n"
    for name, source in ENDINGS.items():
        yield f"end {name}", f"import io, os, sys\n{READ}s = sum(a)\n{source}\n"
    for name, source in SPAWNING.items():
        yield f"spawn {name}", SPAWNING_HEAD + textwrap.indent(textwrap.dedent(source), "    ")


CASES = dict(make_cases())


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as sandbox:
        yield sandbox


def run_in_interpreter(folder, source):
    """Return exit status and output of ``python main.py < input | ...`` with the options of the sandbox."""
    (folder / "main.py").write_text(source)
    (folder / "input").write_text(INPUT)
    options = ["-S", "-s", "-P", "-B", "-X", "utf8", "-X", "int_max_str_digits=0"]
    with open(folder / "input") as file:
        process = subprocess.run(
            [sys.executable, *options, "main.py"],
            stdin=file,
            capture_output=True,
            cwd=folder,
            env={"PYTHONHASHSEED": "0"},
            timeout=60,
        )
    return process.returncode, process.stdout


@pytest.mark.heavy
@pytest.mark.parametrize("name", CASES)
def test_program_runs_as_in_an_interpreter_of_its_own(sandbox, tmp_path, name):
    expected = run_in_interpreter(tmp_path, CASES[name])
    with sandbox.load_program(CASES[name], LIMITS) as program:
        result = program.run(INPUT.encode())
    assert (result.exit_code, result.stdout) == expected, result.stderr
