"""The short form of `./soak api`: schemathesis over the API description, with keys and names that exist."""

from fuzzing import campaign


def test_no_request_that_schemathesis_makes_is_answered_as_it_should_not_be():
    total, failures = campaign([("points", True)], examples=4, seed=20261126)
    assert failures == [], "\n".join(failures)
    assert total > 1_000
