"""Ray cluster: placement plan, reservation, actor pools built from the configuration, and scaling of running runs."""
