"""What is to be done when a library is imported is done then, once, and nothing is loaded for it before."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def a_library(folder: Path) -> None:
    (folder / "lib" / "part").mkdir(parents=True)
    (folder / "lib" / "__init__.py").write_text("name = 'lib'\n")
    (folder / "lib" / "part" / "__init__.py").write_text("")
    (folder / "broken.py").write_text("raise ValueError('no')\n")


def test_it_is_done_after_the_import_and_once(tmp_path: Path) -> None:
    a_library(tmp_path)
    said = run(
        """
        import sys
        from windlass.sdk.loading import when_imported
        when_imported("lib", lambda: print("lib:", sys.modules["lib"].name))
        when_imported("lib", lambda: print("again"))
        when_imported("lib.part", lambda: print("part"))
        when_imported("nowhere", lambda: print("never"))
        print("lib" in sys.modules)
        import lib
        print("imported")
        import lib.part, importlib
        importlib.reload(lib)
        when_imported("lib", lambda: print("at once"))
        try:
            import nowhere
        except ModuleNotFoundError:
            print("not there")
        import importlib.resources, importlib.util
        print(importlib.util.find_spec("lib").origin.endswith("__init__.py"), importlib.resources.files("lib").is_dir())
        """,
        tmp_path,
    )
    assert said.split("\n")[:-1] == [
        "False", "lib: lib", "again", "imported", "part", "at once", "not there", "True True",
    ]  # fmt: skip


def test_a_library_that_fails_to_import_fails_as_ever(tmp_path: Path) -> None:
    a_library(tmp_path)
    said = run(
        """
        from windlass.sdk.loading import when_imported
        when_imported("broken", lambda: print("never"))
        for _ in range(2):
            try:
                import broken
            except ValueError as e:
                print(e)
        """,
        tmp_path,
    )
    assert said == "no\nno\n"


def test_many_threads_import_at_once(tmp_path: Path) -> None:
    a_library(tmp_path)
    said = run(
        """
        import threading
        from windlass.sdk.loading import when_imported
        done = []
        when_imported("lib", lambda: done.append(1))
        def load():
            import lib
            when_imported("lib", lambda: done.append(2))
        threads = [threading.Thread(target=load) for _ in range(20)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        print(sorted(done) == [1] + [2] * 20)
        """,
        tmp_path,
    )
    assert said == "True\n"
