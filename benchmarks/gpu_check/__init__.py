"""The learner on one GPU: speed, memory, numbers, and how weights leave it (``python -m benchmarks.gpu_check``)."""
