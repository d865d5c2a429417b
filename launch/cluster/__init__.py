"""The Ray cluster: what a run takes of it, where its actors go, and the pools made from the configuration."""
