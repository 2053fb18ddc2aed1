"""Make all captures and pictures again."""

from __future__ import annotations

from tests.golden.captures import PICTURES, SCREENS, captures


def main() -> None:
    """Write every capture, and remove the files that are no longer captured."""
    for directory in (SCREENS, PICTURES):
        directory.mkdir(exist_ok=True)
    wanted = dict(captures())
    for directory in (SCREENS, PICTURES):
        for path in directory.iterdir():
            if path not in wanted:
                path.unlink()
    for path, content in wanted.items():
        path.write_text(content)
    print(f"{len(wanted)} captures")  # noqa: T201


if __name__ == "__main__":
    main()
