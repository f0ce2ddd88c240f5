"""The inside of a model's process: `python -m windlass.runtime.local.serve`. Loads one chain of weights, then answers one request after
another. It reads its standard input and writes to the descriptor that was its standard output; nothing a library prints gets there."""

from __future__ import annotations

import os
import sys
import time
from typing import BinaryIO

from windlass.core.errors import WindlassError
from windlass.runtime.local.environment import die_with
from windlass.runtime.local.wire import TO_PROCESS, Answered, Canaries, Fault, FromProcess, Generate, Generated, Load, Loaded, Text, line


def main() -> None:
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no answer
    first = TO_PROCESS.decode(sys.stdin.buffer.readline())
    assert isinstance(first, Load)
    die_with(first.parent)
    began = time.monotonic()
    try:
        answers = _Answers(first, out)
    except WindlassError as e:
        out.write(line(Fault(0, str(e))))
        raise SystemExit(1) from e
    except Exception as e:
        out.write(line(Fault(0, f"these weights cannot be loaded: {type(e).__name__}: {str(e)[:300]}")))
        raise SystemExit(1) from e
    out.write(line(Loaded(answers.device, time.monotonic() - began)))
    for given in sys.stdin.buffer:
        answers.one(TO_PROCESS.decode(given))


class _Answers:
    """A loaded model. A fault of one request is that request's."""

    def __init__(self, load: Load, out: BinaryIO) -> None:
        from windlass.runtime.local import answering, loading

        self._say = answering
        self._out = out
        loading.quiet(load.threads)
        self.device = loading.device()
        self._scores = load.layers[-1].weights.role == "reward"
        self._tokenizer = loading.load_tokenizer(load.layers)
        self._adapted = len(load.layers) > 1
        if self._scores:
            self._model = loading.load_scorer(load.layers, self._tokenizer.pad_token_id)
        else:
            self._model = loading.load_causal(load.layers, merge=False)
        self._model.to(self.device).eval()

    def send(self, value: FromProcess) -> None:
        self._out.write(line(value))

    def one(self, asked: Load | Generate | Canaries) -> None:
        assert not isinstance(asked, Load)
        try:
            if isinstance(asked, Generate):
                self._generate(asked)
            else:
                self._canaries(asked)
        except WindlassError as e:
            self.send(Fault(asked.id, str(e), True))
        except Exception as e:
            self.send(Fault(asked.id, f"{type(e).__name__}: {str(e)[:300]}"))

    def _generate(self, asked: Generate) -> None:
        found = self._say.generate(
            self._model, self._tokenizer, asked.turns, asked.parameters, lambda text: self.send(Text(asked.id, text))
        )
        self.send(Generated(asked.id, found.text, found.stop, found.input, found.output))

    def _canaries(self, asked: Canaries) -> None:
        ask = self._say.scored_canaries if self._scores else self._say.answers_of
        answers = ask(self._model, self._tokenizer, asked.asked)
        without = ""
        if self._adapted and not self._scores:
            with self._model.disable_adapter():
                without = self._say.digest_of(self._say.answers_of(self._model, self._tokenizer, asked.asked))
        self.send(Answered(asked.id, tuple(answers), self._say.digest_of(answers), without, self.device))


if __name__ == "__main__":
    main()
