"""Fingerprint of the starter policy's recipe."""

import pytest

from launch.models.starter_policy import _read_code, load_warm_start_defaults, name_starter_policy


def test_wording_does_not_change_the_code_of_a_recipe(tmp_path):
    path = tmp_path / "code.py"
    path.write_text('"""A module."""\n\ndef f(x):\n    """Do it."""\n    return x + 1  # why\n')
    code = _read_code(path)
    path.write_text('"""Another text."""\n\ndef f(x):\n    """Reworded."""\n    # because\n    return x + 1\n')
    assert _read_code(path) == code
    path.write_text('"""A module."""\n\ndef f(x):\n    """Do it."""\n    return x + 2\n')
    assert _read_code(path) != code


@pytest.mark.heavy
def test_name_depends_on_settings_and_mistakes():
    names = {
        name_starter_policy(load_warm_start_defaults(**changes))
        for changes in ({"pairs": 50}, {"pairs": 60}, {"pairs": 50, "mistakes": 0.0}, {"pairs": 50, "steps": 7})
    }
    assert len(names) == 4
    assert name_starter_policy(load_warm_start_defaults(pairs=50)) in names
