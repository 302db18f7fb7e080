"""Runs a program again and again in one process, since to start one and import its libraries takes most of the time.

`python one_after_the_other.py script.py LISTS`, where LISTS is JSON: the arguments of each run. Writes a line of JSON
for each: its exit code, and what it wrote.
"""

import contextlib
import io
import json
import runpy
import sys


def main() -> None:
    script, lists = sys.argv[1:]
    for arguments in json.loads(lists):
        out, err = io.StringIO(), io.StringIO()
        sys.argv = [script, *arguments]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_path(script, run_name="__main__")
            except SystemExit as ended:
                code = ended.code
        sys.stdout.write(json.dumps([code, out.getvalue(), err.getvalue()]) + "\n")


if __name__ == "__main__":
    main()
