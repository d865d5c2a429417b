"""The Ray roles, each thin: generators, evaluators, learner ranks, and the transfer of weights between them."""
