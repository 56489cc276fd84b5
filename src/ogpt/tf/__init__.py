"""Token ids to logits, in TensorFlow (Keras 3): the siblings of the files in `model/`.

The files have the same names, order and functions as those in PyTorch, so that both can be read
side by side. Only activations.py, keras_*.py and the loops of generate/ have no sibling.

From ids to logits, in the order of a call:
    heads.py            TFOpenAIGPTLMHeadModel: the transformer, its head, the loss
    inputs.py           what a caller passes: by name, checked, and flattened to rows of tokens
    transformer.py      the network: embeddings, blocks of attention and MLP
    attention.py        which keys a query may see, and the sum of their values
    dropout.py          masks from a hash, the same as in PyTorch
    activations.py      GELU and others
    outputs.py          what a model returns

More of the network:
    unmasked.py         what an input without a mask says: packed texts, padding
    losses.py           losses of logits
    chunked_loss.py     the loss of training, without all logits at once
    double_heads.py     a language model that also scores choices
    classification.py   a classifier of sequences
    pooling.py          one vector for a sequence

Text:
    language_model.py   a transformer and its head: what the next ones need of a model
    cache.py            keys and values of earlier tokens
    decoder/            the Decoder protocol, for every search of `generation/`
    generate/           generate(): over that decoder, or as one loop that XLA compiles

Around it:
    base.py             what all models share: layers, names of weights, resizing
    resizing.py         rows of an embedding, heads of attention, whole layers
    keras_fit.py        compile(), fit() and predict() with the model's own loss
    keras_checks.py     ids and labels that a compiled step could not check
    replicas.py         what Keras must know of a batch before several devices take it
    keras_data.py       rows of a data set as batches for them
    pretrained.py       from_pretrained, save_pretrained, SavedModel
    keras_files.py      the classes that `.keras` files name
    loading.py          arrays to weights
    tensors.py          tensors to arrays and back

TensorFlow and Keras come with the extra `tf`. PyTorch is not needed.
"""
