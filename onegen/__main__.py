"""`python -m onegen`: the command line where its program is not on the path."""

from onegen.cli.app import main

if __name__ == "__main__":
    main()
