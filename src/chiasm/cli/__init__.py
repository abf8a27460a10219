"""cli: the words that a person types, and what comes back. It holds no tensor.

    words ─► program.main ─► arguments.read ─► one record of options ─► a command ─► exit code
                 │                                                         │
                 ├─ UserError: one sentence on stderr, 2                   ├─ answers on stdout
                 └─ Ctrl-C: one line, 130                                  └─ notes by base.log.say

    pull.py  curate.py  train.py  chat.py (+ terminal.py)  measure.py  inspect.py  check.py  doctor.py

May enter: names of options, sentences, exit codes. Must stay outside: anything that a program which
imports Chiasm would miss. `--help` wakes no torch: commands are imported when they are called, and
their rooms when they run.
"""

from chiasm.cli.program import main

__all__ = ["main"]
