"""Plain functions stay plain: what needs no model is tested without one."""

import app


def test_an_answer_must_say_the_fact():
    class Row:
        must_say = "nine"

    assert app.right("We open at nine.", Row()) == 1.0
    assert app.right("We never open.", Row()) == 0.0


def test_the_shop_says_when_it_opens(windlass):
    """The fixture is a real installation in a temporary folder, with this workspace pushed into it."""
    assert "nine" in app.shop("When do you open?")
    assert "nine" in windlass.run("chain/shop", "When do you open?").text
