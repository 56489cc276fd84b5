"""The classes that Keras's `.keras` files name: import this, and load_model finds them all.

>>> import keras
>>> import ogpt.tf.keras_files
>>> keras.saving.get_registered_object("ogpt>TFOpenAIGPTDoubleHeadsModel").__name__
'TFOpenAIGPTDoubleHeadsModel'
"""

from ogpt.tf.classification import TFOpenAIGPTForSequenceClassification
from ogpt.tf.double_heads import TFOpenAIGPTDoubleHeadsModel
from ogpt.tf.heads import TFOpenAIGPTLMHeadModel
from ogpt.tf.pooling import TFOpenAIGPTSequenceSummary
from ogpt.tf.transformer import TFOpenAIGPTMainLayer, TFOpenAIGPTModel

__all__ = [
    "TFOpenAIGPTDoubleHeadsModel",
    "TFOpenAIGPTForSequenceClassification",
    "TFOpenAIGPTLMHeadModel",
    "TFOpenAIGPTMainLayer",
    "TFOpenAIGPTModel",
    "TFOpenAIGPTSequenceSummary",
]
