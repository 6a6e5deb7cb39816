"""Fixtures shared by the peer tests: folders that already hold the sample course and the sample pictures."""

import pytest

from bilin import SAMPLES, Server, run


@pytest.fixture(scope="session")
def course_data(tmp_path_factory):
    """A data folder whose only collection, `course`, holds the small plain-text corpus."""
    data = tmp_path_factory.mktemp("course") / "data"
    run("add", "course", "text_corpus.txt", data=data, cwd=SAMPLES / "course")
    return data


@pytest.fixture(scope="session")
def pictures_server(tmp_path_factory):
    """A running service over all sample pictures, in collection `pictures`."""
    data = tmp_path_factory.mktemp("pictures") / "data"
    run("add", "pictures", "pictures", data=data, cwd=SAMPLES)
    with Server(data) as server:
        yield server
