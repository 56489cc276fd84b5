"""transformers 4.57, the last one with TensorFlow: eager `generate`, its default, without a cache.

It loads tf_model.h5 from the folder of its setup, so the environment needs no PyTorch.
"""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # its layers are those of Keras 2

import tensorflow as tf
from transformers import TFOpenAIGPTLMHeadModel

from benchmarks.peers.protocol import Setup, serve


class TransformersTF:
    """An Engine."""

    def __init__(self, setup: Setup) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(setup.threads)
        self._model = TFOpenAIGPTLMHeadModel.from_pretrained(setup.folder, local_files_only=True)

    def generate(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        """See Engine."""
        ids = tf.constant(prompts)
        written = self._model.generate(
            ids, attention_mask=tf.ones_like(ids), do_sample=False, max_new_tokens=new
        )
        return written[:, ids.shape[1] :].numpy().tolist()

    def read(self, prompts: list[list[int]]) -> list[int]:
        """See Engine."""
        return [ids[0] for ids in self.generate(prompts, 1)]


if __name__ == "__main__":
    serve(("transformers", "tensorflow", "tf_keras"), TransformersTF)
