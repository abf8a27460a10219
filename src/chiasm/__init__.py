"""Chiasm gives language models eyes.

    model, processor = chiasm.load("runs/first_light/model")
    messages = [{"role": "user", "content": [{"type": "image", "path": "cat.png"},
                                             {"type": "text", "text": "What is this?"}]}]
    print(chiasm.chat(model, processor, messages))

Names are looked up when they are first used: `import chiasm` alone does not import torch.
"""

from typing import TYPE_CHECKING

from chiasm.base.doors import lazily

if TYPE_CHECKING:
    from chiasm.recipes.answering import chat
    from chiasm.recipes.loading import load

__version__ = "0.1.0"
__all__ = ["__version__", "chat", "load"]
__getattr__ = lazily(__name__, {"load": "recipes.loading", "chat": "recipes.answering"})
