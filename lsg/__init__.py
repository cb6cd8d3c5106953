"""CL-LSG: continual learning that grows a network task by task, never forgets, and stays small.

The library needs torch, numpy and safetensors only. `lsg.sequence.learn_sequence` learns a sequence of
tasks into a directory; everything else is a part of it that can be used alone.
"""
