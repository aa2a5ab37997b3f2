"""The command of this package."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

import entorhinal.benchmarks.validation as validation
from entorhinal.benchmarks.validation.rows import measure_table, null_table, write_section


def main() -> None:
    parser = argparse.ArgumentParser(
        description=validation.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="a Markdown file with the sections, such as docs/validation.md")
    parser.add_argument("--nulls", type=int, help="null populations, for the rates of false positives")
    parser.add_argument("--only", choices=validation.FALSE_POSITIVES, help="with --nulls: one verdict")
    arguments = parser.parse_args()
    if arguments.only and arguments.nulls is None:
        parser.error("--only names a verdict of --nulls; give both")
    console = Console(stderr=True)
    sections, failed = {}, False
    if arguments.nulls is None:
        rows = [row for part in track(validation.PARTS, "measuring", console=console) for row in part()]
        sections["measures"], failed = measure_table(rows), not all(row.holds for row in rows)
    else:
        for verdict, (part, kinds) in validation.FALSE_POSITIVES.items():
            if arguments.only in (None, verdict):
                found = track(part(arguments.nulls), f"false positives: {verdict}", kinds, console=console)
                sections[f"{verdict} nulls"] = null_table(found)
    for name, text in sections.items():
        print(text)
        if arguments.out:
            write_section(arguments.out, name, text)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
