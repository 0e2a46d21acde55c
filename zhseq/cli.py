"""What every command line of zhseq shares: errors as sentences, exit codes, closed pipes, interruption."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from zhseq.errors import ZhseqError, command_line

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def run_main(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run a front door and exit with its status.

    A `ZhseqError` or an operating-system error becomes one sentence on standard error and exit status 2; Ctrl-C gives
    130; a reader that closes the pipe early (`| head`) ends the program silently, as it does for any Unix filter.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                # A lone surrogate in a user's text must come out as an escape in a message, never as a traceback.
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        status = main(None)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain again while flushing at exit; give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        print("zhseq: interrupted", file=sys.stderr)
        status = EXIT_INTERRUPTED
    except ZhseqError as error:
        print(f"zhseq: {error.message.render(command_line)}", file=sys.stderr)
        status = EXIT_ERROR
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        print(f"zhseq: {error.strerror or error}{place}", file=sys.stderr)
        status = EXIT_ERROR
    sys.exit(status)
