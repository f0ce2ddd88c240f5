"""Plain functions stay plain: what needs no model is tested without one."""

import app


def test_an_answer_must_say_the_fact():
    class Row:
        must_say = "nine"

    assert app.right("We open at nine.", Row()) == 1.0
    assert app.right("We never open.", Row()) == 0.0
