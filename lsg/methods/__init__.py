"""Methods by name. A new method is one file with a `Method`, one line here and its section in params.yaml."""

from lsg.methods.ablation import GrowSel, GrowSelLsg, GrowTarget
from lsg.methods.apd import Apd
from lsg.methods.cl_lsg import ClLsg
from lsg.methods.cpg import Cpg
from lsg.methods.den import Den
from lsg.methods.fine_tune import FineTune, Sequential
from lsg.methods.grow import Grow, GrowMatched
from lsg.methods.method import Method
from lsg.methods.packnet import PackNet
from lsg.methods.piggyback import Piggyback
from lsg.methods.pnn import Pnn
from lsg.methods.scratch import Scratch

METHODS: dict[str, type[Method]] = {
    "scratch": Scratch,
    "fine-tune": FineTune,
    "sequential": Sequential,
    "pnn": Pnn,
    "grow": Grow,
    "grow-matched": GrowMatched,
    "den": Den,
    "cpg": Cpg,
    "apd": Apd,
    "packnet": PackNet,
    "piggyback": Piggyback,
    "cl-lsg": ClLsg,
    "grow-target": GrowTarget,
    "grow+sel": GrowSel,
    "grow+sel+lsg": GrowSelLsg,
}

__all__ = ["METHODS", "Method"]
