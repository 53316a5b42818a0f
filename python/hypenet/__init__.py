"""HypeNet in Python: load a model, generate, chat, score, measure and convert.

    import hypenet
    model = hypenet.load("out/tiny/model")
    print(model.generate("The sun", max_tokens=40))

What fails says so in one line, by hypenet.Error. docs/python.md is the manual.
"""
from hypenet._conversion import Conversion, Progress, convert, select
from hypenet._library import native
from hypenet._measures import Scores, evaluate
from hypenet._model import Model, load
from hypenet._stream import AsyncStream, Completion, Piece, Stream
from hypenet._tokenizer import Tokenizer

Error = native.Error
__version__: str = native.version()

__all__ = ["AsyncStream", "Completion", "Conversion", "Error", "Model", "Piece", "Progress", "Scores", "Stream",
           "Tokenizer", "convert", "evaluate", "load", "select"]
