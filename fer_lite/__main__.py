"""The command line: fer-lite, or python -m fer_lite."""

from fer_lite import errors


@errors.main
def main():
    """fer_lite.cli.main, loaded here, so that a Ctrl-C while NumPy, OpenCV and ONNX Runtime load is one line too."""
    from fer_lite import cli

    return cli.main()


if __name__ == "__main__":
    main()
