"""inference: how a model speaks. Prompts go in, answers come out.

    Rendered ──► engine.Engine ──► sampling.choose ──► tokens ──► utterance.Utterance ──► text
                      ▲   └──◄── one token per row ──◄──┘
    session.Session ──┘ a conversation that goes on: keeps the cache between turns
    quantize.prepack ── lays a model's weights out for decoding on a processor

May enter: what turns a built model into answers. Must stay outside: how models are built, chat formats,
scores.
"""

from chiasm.base.doors import lazily

__all__ = [
    "Answer",
    "Engine",
    "Sampling",
    "Session",
    "Utterance",
    "prepack",
]

__getattr__ = lazily(
    __name__,
    {
        "Answer": "engine",
        "Engine": "engine",
        "Sampling": "sampling",
        "Session": "session",
        "Utterance": "utterance",
        "prepack": "quantize",
    },
)
