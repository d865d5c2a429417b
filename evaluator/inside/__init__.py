"""Code that runs inside the sandbox's interpreter. The owner, the process that asks for verdicts, never runs it.

    owner ──control──► cell ──fork per program──► template ──fork per test──► candidate
      └── starts ──► guard ──fork──┘    └───── channel: one word per test ────► owner

The *guard* stays outside the new namespaces and watches the owner. The *cell* is process 1 of its pid namespace, so the
kernel kills all remaining processes when it dies; it keeps the common modules imported. The *template* of a program is
behind every fence (isolation mechanism), compiles the source once and forks a fresh process, the *candidate*, for each
test. The template itself never runs code of the candidate. Expected outputs never reach any of these processes.
"""
