"""`python -m grantbook` is the command `grantbook`."""

from grantbook.cli import main

if __name__ == "__main__":
    main()
