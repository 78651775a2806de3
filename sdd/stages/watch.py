"""Show how a study comes along, while it runs or afterwards; its files are only read."""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from sdd.planning import screen
from sdd.planning.pace import Pace
from sdd.planning.watching import Watch
from sdd.study.opening import open_study

EVERY_S = 2.0
SHARE = 0.1  # of the time that looking may take, on a slow disk

# Another screen and back, its cursor hidden meanwhile; a line's rest and the screen's rest cleared.
ENTER, LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l\r\033[K"
HOME, LINE_END, SCREEN_END = "\033[H", "\033[K\n", "\033[J"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], metavar="YAML")
    parser.add_argument("--directory", type=Path, help="where the study runs, if not here")
    parser.add_argument("--once", action="store_true", help="print one screen and end")


def run(args: argparse.Namespace) -> None:
    watch = Watch(open_study(args.configfile, args.directory))
    pace = Pace(watch.study)
    terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    colours = terminal and not os.environ.get("NO_COLOR")
    most = 1  # trainings seen at a time: between two jobs there are fewer

    def page() -> list[str]:
        nonlocal most
        look = watch.look()
        most = max(most, sum(training.lives for training in look.trainings))
        width, height = shutil.get_terminal_size()
        # The last line stays free for the cursor, or the screen would scroll.
        whole = screen.lines(
            watch.study, look, pace.left(look, most), height - 1 if terminal else None
        )
        return screen.text(whole, width if terminal else sys.maxsize, colours)

    if args.once or not terminal:
        try:
            print("\n".join(page()), flush=True)
        except BrokenPipeError:  # `| head` has read enough; at the end Python would flush again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    shown: list[str] = []
    sys.stdout.write(ENTER)
    try:
        while True:
            started = time.monotonic()
            shown = page()
            # Over what was there, line by line: cleared first, it would flicker.
            sys.stdout.write(HOME + "".join(line + LINE_END for line in shown) + SCREEN_END)
            sys.stdout.flush()
            time.sleep(max(EVERY_S, (time.monotonic() - started) / SHARE))
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
    print("\n".join(shown))
