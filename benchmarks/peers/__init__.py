"""Child processes that run inside the environments of the systems compared with; ``*.txt`` list those environments."""
