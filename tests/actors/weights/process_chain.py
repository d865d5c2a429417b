"""Stand-in for an actor, its engine's process and a worker below that, as vLLM has them with several GPUs.

Each process starts the next one. The worker prints the pids of all three and watches the others.
"""

import os
import subprocess
import sys
import time

from actors.weights.vllm_worker import watch_processes

LENGTH = 3
LIFETIME_S = 300.0
"""Seconds after which a process ends by itself, should the test have ended without it."""

if __name__ == "__main__":
    pids = [*map(int, sys.argv[1:]), os.getpid()]
    if len(pids) < LENGTH:
        subprocess.Popen([sys.executable, "-m", "tests.actors.weights.process_chain", *map(str, pids)])
    else:
        watch_processes(actor=pids[0], parent=os.getppid())
        print(*pids, flush=True)
    time.sleep(LIFETIME_S)
