"""The short form of `./soak serve`: every answer checked while items change, backups are made and Redis goes and comes."""

from soaking import soak


def test_no_answer_is_wrong_stale_or_refused_while_everything_goes_on_at_once():
    assert soak(18, seed=20261126) == []
