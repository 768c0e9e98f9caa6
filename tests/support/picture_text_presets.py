"""Presets of KerasHub with tiny random models of pictures and texts. Skips a test module, loudly, without the extra."""

import importlib.util
import io

import keras
import pytest

if importlib.util.find_spec('keras_hub') is None:
  pytest.skip('!!!! CLIP NOT TESTED: keras_hub not installed (scripts/setup --latest clip)', allow_module_level=True)

import keras_hub
import sentencepiece

SIDE, WIDTH, TOKENS = 16, 8, 24
LETTERS = 'abcdefghijklmnopqrstuvwxyz'
ENCODER = {'num_layers': 1, 'num_heads': 2, 'hidden_dim': 16, 'intermediate_dim': 32}


def converter(kind):
  """Pictures of any shape, cropped, resized and scaled to [-0.5, 0.5]."""
  return kind(image_size=(SIDE, SIDE), scale=[1 / 255] * 3, offset=[-0.5] * 3, interpolation='bicubic', antialias=True)


def clip(folder, seed=0):
  """Saves a CLIP into a folder; returns the folder."""
  keras.utils.set_random_seed(seed)
  models = keras_hub.models
  tokens = [*LETTERS, *(f'{letter}</w>' for letter in LETTERS), 'do', '<|startoftext|>', '<|endoftext|>']
  vision = models.CLIPVisionEncoder(patch_size=8, image_shape=(SIDE, SIDE, 3), **ENCODER)
  text = models.CLIPTextEncoder(len(tokens), embedding_dim=16, max_sequence_length=TOKENS, **ENCODER)
  tokenizer = models.CLIPTokenizer({token: number for number, token in enumerate(tokens)}, merges=['d o'])
  models.CLIPBackbone(vision, text, projection_dim=WIDTH).save_to_preset(str(folder))
  images = converter(keras_hub.layers.CLIPImageConverter)
  models.CLIPPreprocessor(tokenizer, images, sequence_length=TOKENS).save_to_preset(str(folder))
  return folder


def siglip(folder, seed=0):
  """Saves a SigLIP, with a bias of its logits, into a folder; returns the folder."""
  keras.utils.set_random_seed(seed)
  models, proto = keras_hub.models, io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(['a dog', 'rain', 'the sound of rain', 'a photo of sea', ' '.join(LETTERS)] * 10),
    model_writer=proto, vocab_size=40, model_type='UNIGRAM', hard_vocab_limit=False,
    pad_id=-1, bos_id=-1, eos_id=0, unk_id=1, eos_piece='</s>', unk_piece='<unk>', minloglevel=2,
  )  # fmt: skip
  vision = models.SigLIPVisionEncoder(patch_size=8, image_shape=(SIDE, SIDE, 3), **ENCODER)
  text = models.SigLIPTextEncoder(40, embedding_dim=16, max_sequence_length=TOKENS, projection_dim=16, **ENCODER)
  backbone = models.SigLIPBackbone(vision, text)
  backbone.siglip_head.logit_scale.assign(2.0)
  backbone.siglip_head.logit_bias.assign(-3.0)
  backbone.save_to_preset(str(folder))
  tokenizer = models.SigLIPTokenizer(proto.getvalue())
  images = converter(keras_hub.layers.SigLIPImageConverter)
  models.SigLIPPreprocessor(tokenizer, images, sequence_length=TOKENS).save_to_preset(str(folder))
  return folder
