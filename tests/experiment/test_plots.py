from tinynas.experiment.plots import Series, pareto_plot

POINTS = [(10, 50.0), (20, 70.0), (20, 60.0), (30, 65.0), (40, 80.0), (5, 50.0)]


def test_picture_is_a_png():
    series = [Series(label="front", points=POINTS, line=True), Series(label="none", points=[])]
    series.append(Series(label="one", points=[(15, 60.0)], annotate=["60.0"], marker="*"))
    assert pareto_plot(series, title="a picture", budgets=[30]).startswith(b"\x89PNG")


def test_plot_of_names_that_are_formulas_hidden_or_in_no_font(install_fonts):
    """A warning about a missing glyph would be an error."""
    install_fonts()
    plain = pareto_plot([Series(label=r"\u5706", points=POINTS)], title="a")
    assert pareto_plot([Series(label="圆", points=POINTS)], title="a") == plain
    assert pareto_plot([Series(label="a", points=POINTS)], title="$\\frac$ $x$").startswith(b"\x89PNG")
    with_legend = pareto_plot([Series(label="_x", points=POINTS)], title="a")
    assert with_legend == pareto_plot([Series(label=" _x", points=POINTS)], title="a")
    assert with_legend != pareto_plot([Series(label="_y", points=POINTS)], title="a")


def test_plot_takes_an_installed_font_where_it_needs_one(install_fonts):
    install_fonts(SquaresOfPlots="圆方")
    in_squares = pareto_plot([Series(label="a", points=POINTS)], title="a 圆方")
    assert in_squares != pareto_plot([Series(label="a", points=POINTS)], title=r"a \u5706\u65b9")
    install_fonts()
    assert in_squares != pareto_plot([Series(label="a", points=POINTS)], title="a 圆方")
