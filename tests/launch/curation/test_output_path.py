"""Check of the output directory of a curation."""

import pytest

from conf.schema import ConfigError
from launch.curation.output_path import check_output
from launch.curation.pipeline import lock_folder


def test_missing_and_empty_directories_are_accepted(tmp_path):
    check_output(tmp_path)
    check_output(tmp_path / "missing")


def test_directory_of_a_curation_is_accepted(tmp_path):
    with lock_folder(tmp_path / "work"):
        pass
    (tmp_path / "problems.parquet").write_bytes(b"")
    check_output(tmp_path)


def test_directory_with_other_files_and_a_file_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="holds other files"):
        check_output(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        check_output(tmp_path / "thesis.tex")
