"""Make all captures and pictures again."""

from __future__ import annotations

from tests.golden.captures import PICTURES, SCREENS, captures


def main() -> None:
    """Write every capture, and remove the files that are no longer captured."""
    wanted = dict(captures())
    for directory, pattern in ((SCREENS, "*.txt"), (PICTURES, "*.svg")):
        directory.mkdir(exist_ok=True)
        for path in directory.glob(pattern):
            if path not in wanted:
                path.unlink()
    for path, content in wanted.items():
        path.write_text(content)
    print(f"{len(wanted)} captures")  # noqa: T201


if __name__ == "__main__":
    main()
