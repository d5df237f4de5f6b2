"""Entry point of the console script `zoo`."""

from __future__ import annotations

import gc
import os
import sys
import threading
from typing import NoReturn

# Nearly all that a start-up makes, stays: looking through it for garbage every 700 objects takes longer than a command.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000


def main() -> NoReturn:
    """Run the command line that this process was started with, and exit with its code."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
    from zoo.cli import errors, output
    from zoo.cli.app import app

    output.prepare_streams()
    errors.stop_on_signals()
    code = errors.run(app, sys.argv[1:])
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        # Python would wait for it, and nothing can stop a decoder that is deep in a library.
        output.flush()
        os._exit(code)
    # Python searches for garbage once more on its way out; the system takes all of it anyway.
    gc.freeze()
    sys.exit(code)
