"""The transfer of weights from the learner to every engine."""
