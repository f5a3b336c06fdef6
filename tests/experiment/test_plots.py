from tinynas.experiment.plots import Series, pareto_plot

POINTS = [(10, 50.0), (20, 70.0), (20, 60.0), (30, 65.0), (40, 80.0), (5, 50.0)]


def test_picture_is_a_png():
    series = [Series(label="front", points=POINTS, line=True), Series(label="none", points=[])]
    series.append(Series(label="one", points=[(15, 60.0)], annotate=["60.0"], marker="*"))
    assert pareto_plot(series, title="a picture", budgets=[30]).startswith(b"\x89PNG")
