"""Methods by name. A new method is one file with a `Method`, and one line here."""

from lsg.methods.cl_lsg import ClLsg
from lsg.methods.fine_tune import FineTune
from lsg.methods.method import Method
from lsg.methods.scratch import Scratch

METHODS: dict[str, type[Method]] = {
    "scratch": Scratch,
    "fine-tune": FineTune,
    "cl-lsg": ClLsg,
}

__all__ = ["METHODS", "Method"]
