from tasks.data.playground.randomness import Draws


def test_the_draws_are_pinned() -> None:
    """Only Random.random is used, whose values Python promises to keep."""
    draws = Draws("pinned")
    drawn = [draws.below(1000) for _ in range(4)], draws.shuffled("abcdef"), draws.pick("xyz")
    assert drawn == ([362, 902, 592, 699], list("cfbead"), "z")


def test_draws_cover_their_range_evenly() -> None:
    draws = Draws("even")
    counts = [0] * 5
    for _ in range(5000):
        counts[draws.below(5)] += 1
    assert all(880 < count < 1120 for count in counts)
    assert sorted(draws.shuffled(range(30))) == list(range(30))
    assert 400 < sum(draws.chance(0.25) for _ in range(2000)) < 600
