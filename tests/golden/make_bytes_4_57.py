"""Writes tokenizer_bytes_4.57.6.json: what transformers 4 makes of a byte-level folder.

    python tests/golden/make_bytes_4_57.py FOLDER TEXTS.json OUT.json

FOLDER holds a tokenizer that ogpt learned on the texts, each taken twice (`learned_bytes` of
tests/tokens/byte_level.py, saved), and TEXTS.json a list of strings. Needs transformers 4.57.6, not
ogpt.
"""

import json
import sys
from pathlib import Path

import transformers

folder, texts_file, out = map(Path, sys.argv[1:])
texts = json.loads(texts_file.read_text("utf-8"))
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
ids = [tokenizer(text)["input_ids"] for text in texts]
golden = {
    "transformers": transformers.__version__,
    "class": type(tokenizer).__name__,
    "vocab_size": len(tokenizer),
    "texts": texts,
    "ids": ids,
    "decoded": [tokenizer.decode(row) for row in ids],
}
out.write_text(json.dumps(golden, ensure_ascii=True) + "\n", "utf-8")
