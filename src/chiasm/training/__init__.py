"""training: how a model learns. The one loop, what it minimises, and who learns how fast.

    loader.step(step)  ─► objective.loss(model, part) = a sum ─► / the step's count ─► backward
                                                                      │
    checkpoints, metrics, samples ◄── observers(facts) ◄── optimizer ◄┘ gradient clipped

May enter: objectives, optimisers, schedules, the loop. Must stay outside: models (they are handed in by a
recipe), data sources, generation (an observer brings it).
"""

from chiasm.base.doors import lazily

__all__ = [
    "Facts",
    "Learner",
    "Loader",
    "Looking",
    "NextToken",
    "Objective",
    "Rate",
    "Schedule",
    "TrainSettings",
    "Trainer",
]

__getattr__ = lazily(
    __name__,
    {
        "Facts": "trainer",
        "Learner": "optim",
        "Loader": "trainer",
        "Looking": "looking",
        "NextToken": "next_token",
        "Objective": "objective",
        "Rate": "settings",
        "Schedule": "settings",
        "TrainSettings": "settings",
        "Trainer": "trainer",
    },
)
