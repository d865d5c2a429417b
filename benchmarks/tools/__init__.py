"""Tools that the benchmarks share: workloads, child processes with measured time and CPU, and reports."""
