"""Verification of candidates: references pass every test, and tests tell right programs from wrong ones.

    verify_candidates ──► verify_candidate ──► run_references ──► Evaluator (all tests, twice)
                                          ──► find_float_checker, allows_several_answers
                                          ──► measure_tests ──► Evaluator (until the first failed test)

Covered: flaky references, tests that crash every reference, missing checkers, numbers in another form, weak tests.
Not covered: a wrong expected output that every reference agrees with, and a limit that only other machines exceed.
"""
