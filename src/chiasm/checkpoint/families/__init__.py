"""families: one table of weight names per model family, read in both directions.

    transformers' names ──►  llama.table()  ──► ours        config.json ──► read_config ──► Settings
    GGUF's names        ──►  clip.table()   ◄── ours        config.json ◄── write_config ◄─ Settings
    Meta's names        ──►  meta.table()  ◄──► ours        params.json ◄─► read_params, write_params
    whole vision LLMs: mllama (its layers count crosses in), llava (clip and llama within), meta

May enter: names, settings, changes of form. Must stay outside: reading and writing of files. What a
family has and our model has not is declared in its table and counted; nothing else passes.
"""
