"""Token ids to logits, in PyTorch.

From ids to logits, in the order of a call:
    heads.py            OpenAIGPTLMHeadModel: the transformer, its head, the loss
    inputs.py           what a caller passes: checked, and flattened to rows of tokens
    transformer.py      the network: embeddings, blocks of attention and MLP
    attention.py        which keys a query may see, and the sum of their values
    dropout.py          masks from a hash
    outputs.py          what a model returns

More of the network:
    unmasked.py         what an input without a mask says: packed texts, padding
    cache.py            keys and values of earlier tokens
    losses.py           losses of logits
    chunked_loss.py     the training loss without storing all logits
    double_heads.py     a language model that also scores choices
    classification.py   a classifier of sequences
    pooling.py          one vector for a sequence
    openai_2018.py      where the 2018 code computes something else

The paper's baseline (table 5):
    lstm.py             an LSTM in place of the transformer
    lstm_cache.py       its states after each token
    network.py          the network that a configuration describes

Around it:
    base.py             initial weights, resizing, freezing
    model_facts.py      what training tools ask about a model
    checkpointing.py    gradient checkpointing
    resizing.py         rows of an embedding
    pretrained.py       from_pretrained, save_pretrained, push_to_hub
    loading.py          arrays to weights
    tensors.py          tensors to arrays and back
    language_model.py   what decoders and generate() need of a model
    evaluating.py       evaluation mode for a while
    architectures.py    the classes by name

`generate/` is Hugging Face's generate(), `decoder/` the PyTorch decoder, `cuda/` the CUDA decoder.
"""
