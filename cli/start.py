"""Entry point of the console script `zoo`."""

from __future__ import annotations

import gc
import os
import sys
import threading
from typing import NoReturn

# Almost all objects of a start-up stay: collecting garbage every 700 objects takes longer than a command.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000


def main() -> NoReturn:
    """Run the command line of this process, and exit with its code."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
    from zoo.cli import errors, output
    from zoo.cli.app import app

    output.prepare_streams()
    errors.stop_on_signals()
    code = errors.run(app, sys.argv[1:])
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        # Python would wait for the thread, and nothing can stop a decoder inside a library.
        output.flush()
        os._exit(code)
    # Skip Python's last garbage collection: the system frees all memory anyway.
    gc.freeze()
    sys.exit(code)
