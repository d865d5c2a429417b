"""Problems for training and evaluation: data sets, benchmarks, prompts, contamination checks."""
