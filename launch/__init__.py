"""The commands (train, evaluate, export, scale, warm start), the training loop, and the output they print and write."""

import os

# Set before torch loads OpenMP: threads that spin while they wait for a busy core slow everything down several times;
# sleeping threads do not.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
