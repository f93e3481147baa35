"""What a user did wrong, said in one line. The class and the decorator are fer_lite's, so that the package that people install needs
nothing of the rest, and a mistake is one kind of exception everywhere."""

from fer_lite.errors import Fail, main

__all__ = ["Fail", "main"]
