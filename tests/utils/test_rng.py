from tinynas.utils.rng import generator


def test_generator_depends_on_seed_purpose_and_step():
    draws = {generator(*key).integers(2**60) for key in [(0, "a", 0), (0, "a", 1), (0, "b", 0), (1, "a", 0)]}
    assert len(draws) == 4
    assert generator(3, "x", 7).random() == generator(3, "x", 7).random()
