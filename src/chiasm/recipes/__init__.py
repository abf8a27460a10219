"""recipes: the only place with hyper-parameters, and where models, data and training meet.

    book.recipe("first_light") ─► Run (settings)         first_light.py, settings.py, book.py
                                    │
             parts.assemble ◄───────┼───────► materials.materials
          decoder + eyes + new parts│           taught and held-out samples
                                    ▼
                              run.train ─► runs/NAME/{run.json, metrics.jsonl, checkpoints, model}
                                    │
                     loading.load ◄─┘ ─► answering.answerer ─► chat, evaluation, samples

    curating.tools: models for the steps of data.curation, which may not import them

May enter: choices, and the straight lines that join rooms. Must stay outside: how anything is computed.
Names are imported from their files: reading a recipe must not wake torch.
"""
