"""Where problems come from and how they are put to a model: data sets, benchmarks, prompts, hygiene."""
