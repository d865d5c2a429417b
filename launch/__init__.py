"""What a person starts: the driver and its training loop, the warm start, and what they print and write."""

import os

# Before torch loads OpenMP: threads that spin while they wait for a core somebody else uses slow everything down
# several times; sleeping ones do not.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
